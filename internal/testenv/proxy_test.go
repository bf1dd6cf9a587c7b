package testenv_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// target is the server behind a proxy.
type target struct {
	t *testing.T
	net.Listener
}

func newTarget(t *testing.T) *target {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	return &target{t: t, Listener: listener}
}

// pair connects to the target through proxy, checks both directions and returns both ends.
func (s *target) pair(proxy *testenv.Proxy) (client, server *lineConn) {
	s.t.Helper()
	client = dial(s.t, proxy.Addr())
	conn, err := s.Accept()
	require.NoError(s.t, err)
	server = newLineConn(s.t, conn)
	requireConnected(s.t, client, server)
	return client, server
}

func requireConnected(t *testing.T, client, server *lineConn) {
	t.Helper()
	client.send("hello")
	require.Equal(t, "hello", server.receive())
	server.send("welcome")
	require.Equal(t, "welcome", client.receive())
}

func newProxy(t *testing.T) (*testenv.Proxy, *target) {
	t.Helper()
	s := newTarget(t)
	return testenv.NewProxy(t, s.Addr().String()), s
}

func TestProxy_ForwardsAllBytes(t *testing.T) {
	t.Parallel()
	proxy, s := newProxy(t)
	client, server := s.pair(proxy)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	written := make(chan error, 1)
	go func() { // the test waits until this goroutine sends to written
		_, err := client.Write(sent)
		client.CloseWrite()
		written <- err
	}()
	got, err := io.ReadAll(server.lines)
	require.NoError(t, err)
	require.NoError(t, <-written)
	assert.True(t, bytes.Equal(sent, got))

	server.send("half closed") // the other direction still works
	assert.Equal(t, "half closed", client.receive())
	server.Close()
	client.requireEnd(io.EOF)
}

func TestProxy_Cut(t *testing.T) {
	t.Parallel()
	proxy, s := newProxy(t)
	client, server := s.pair(proxy)
	proxy.Cut()
	client.requireEnd(io.EOF)
	server.requireEnd(io.EOF)
	s.pair(proxy)
}

func TestProxy_Reset(t *testing.T) {
	t.Parallel()
	proxy, s := newProxy(t)
	client, server := s.pair(proxy)
	proxy.Reset()
	client.requireEnd(syscall.ECONNRESET)
	server.requireEnd(syscall.ECONNRESET)
	s.pair(proxy)
}

func TestProxy_PassesOnAReset(t *testing.T) {
	t.Parallel()
	proxy, s := newProxy(t)
	client, server := s.pair(proxy)
	require.NoError(t, server.SetLinger(0))
	server.Close()
	client.requireEnd(syscall.ECONNRESET)
}

func TestProxy_BlackHole(t *testing.T) {
	t.Parallel()
	proxy, s := newProxy(t)
	client, server := s.pair(proxy)
	proxy.BlackHole()
	client.send("lost")
	server.send("lost")
	s.pair(proxy)
	proxy.Heal()
	client.requireNoData()
	server.requireNoData()
	client.Close()
	server.requireNoData()

	proxy.Cut()
	server.requireEnd(io.EOF)
}

// BlackHole must unblock a writer that is blocked because the other end does not read.
func TestProxy_BlackHoleSwallowsWithoutAReader(t *testing.T) {
	t.Parallel()
	proxy, s := newProxy(t)
	client, _ := s.pair(proxy)
	var err error
	for err == nil {
		require.NoError(t, client.SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
		_, err = client.Write(make([]byte, 1<<20))
	}
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)

	proxy.BlackHole()
	require.NoError(t, client.SetWriteDeadline(time.Now().Add(testTimeout)))
	_, err = client.Write(make([]byte, 32<<20))
	require.NoError(t, err)
}

func TestProxy_BlackHoleAll(t *testing.T) {
	t.Parallel()
	proxy, s := newProxy(t)
	client, server := s.pair(proxy)
	proxy.BlackHoleAll()
	late := dial(t, proxy.Addr())
	for _, end := range []*lineConn{client, server, late} {
		end.send("lost")
	}
	for _, end := range []*lineConn{client, server, late} {
		end.requireNoData()
	}
	proxy.Heal()
	s.pair(proxy)
	late.requireNoData()
}

func TestProxy_Refuse(t *testing.T) {
	t.Parallel()
	proxy, s := newProxy(t)
	client, server := s.pair(proxy)
	proxy.Refuse()
	proxy.Refuse()
	_, err := connect(proxy.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	requireConnected(t, client, server)
	proxy.Heal()
	s.pair(proxy)
	requireConnected(t, client, server)
}

func TestProxy_RefusesInTheTargetsName(t *testing.T) {
	t.Parallel()
	proxy, s := newProxy(t)
	s.Close()
	client, err := connect(proxy.Addr())
	if err == nil { // the kernel accepted the connection before the proxy reset it
		newLineConn(t, client).requireEnd(syscall.ECONNRESET)
		return
	}
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestProxy_DelayKeepsOrder(t *testing.T) {
	t.Parallel()
	proxy, s := newProxy(t)
	client, server := s.pair(proxy)
	const delay = 60 * time.Millisecond
	proxy.Delay(delay)
	start := time.Now()
	client.send("first")
	require.Equal(t, "first", server.receive())
	server.send("answer")
	require.Equal(t, "answer", client.receive())
	assert.GreaterOrEqual(t, time.Since(start), 2*delay)

	client.send("second")
	proxy.Delay(0)
	client.send("third") // its delivery is due before that of the second line
	assert.Equal(t, "second", server.receive())
	assert.Equal(t, "third", server.receive())
}

func TestProxy_EndsWithTheTest(t *testing.T) {
	t.Parallel()
	s := newTarget(t)
	var client, server *lineConn
	t.Run("Part", func(t *testing.T) {
		proxy := testenv.NewProxy(t, s.Addr().String())
		client, server = s.pair(proxy)
		proxy.Delay(time.Hour)
		client.send("never delivered")
	})
	client.requireEnd(syscall.ECONNRESET)
	server.requireEnd(syscall.ECONNRESET)
	_, err := connect(client.RemoteAddr().String())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

func TestProxy_FaultsFromManyGoroutines(t *testing.T) {
	t.Parallel()
	proxy, s := newProxy(t)
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { // the deferred call of Close below ends this goroutine
		for {
			conn, err := s.Accept()
			if err != nil {
				return
			}
			running.Go(func() { // this goroutine ends when the proxy closes its connection
				defer conn.Close()
				io.Copy(conn, conn)
			})
		}
	})
	defer s.Close()

	var faults sync.WaitGroup
	for _, fault := range []func(){
		proxy.Cut, proxy.Reset, proxy.BlackHole, proxy.BlackHoleAll, proxy.Refuse, proxy.Heal, func() { proxy.Delay(1) },
	} {
		faults.Go(func() {
			for range 30 {
				fault()
				if conn, err := connect(proxy.Addr()); err == nil {
					conn.Write([]byte("anything"))
					conn.Close()
				}
			}
		})
	}
	faults.Wait()
	proxy.Heal()
	client := dial(t, proxy.Addr())
	assert.Equal(t, "still there", client.request("still there"))
	proxy.Refuse()
	proxy.Reset()
}
