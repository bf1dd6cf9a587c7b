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

// target is what stands behind a proxy.
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

// pair connects to the target through proxy, and shows that both directions work.
func (s *target) pair(proxy *testenv.Proxy) (client, server *peer) {
	s.t.Helper()
	client = dial(s.t, proxy.Addr())
	conn, err := s.Accept()
	require.NoError(s.t, err)
	server = newPeer(s.t, conn)
	requireLinked(s.t, client, server)
	return client, server
}

func requireLinked(t *testing.T, client, server *peer) {
	t.Helper()
	client.say("hello")
	require.Equal(t, "hello", server.hear())
	server.say("welcome")
	require.Equal(t, "welcome", client.hear())
}

func newProxy(t *testing.T) (*testenv.Proxy, *target) {
	t.Helper()
	s := newTarget(t)
	return testenv.NewProxy(t, s.Addr().String()), s
}

func TestProxy_PassesAllBytes(t *testing.T) {
	t.Parallel()
	proxy, s := newProxy(t)
	client, server := s.pair(proxy)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	written := make(chan error, 1)
	go func() { // the test waits for written
		_, err := client.Write(sent)
		client.CloseWrite()
		written <- err
	}()
	got, err := io.ReadAll(server.lines)
	require.NoError(t, err)
	require.NoError(t, <-written)
	assert.True(t, bytes.Equal(sent, got))

	server.say("half closed") // the other direction works on
	assert.Equal(t, "half closed", client.hear())
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
	client.say("lost")
	server.say("lost")
	s.pair(proxy)
	proxy.Heal()
	client.requireSilence()
	server.requireSilence()
	client.Close()
	server.requireSilence()

	proxy.Cut()
	server.requireEnd(io.EOF)
}

// A writer that was stuck, as nobody read, is free again.
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
	require.NoError(t, client.SetWriteDeadline(time.Now().Add(patience)))
	_, err = client.Write(make([]byte, 32<<20))
	require.NoError(t, err)
}

func TestProxy_BlackHoleAll(t *testing.T) {
	t.Parallel()
	proxy, s := newProxy(t)
	client, server := s.pair(proxy)
	proxy.BlackHoleAll()
	late := dial(t, proxy.Addr())
	for _, end := range []*peer{client, server, late} {
		end.say("lost")
	}
	for _, end := range []*peer{client, server, late} {
		end.requireSilence()
	}
	proxy.Heal()
	s.pair(proxy)
	late.requireSilence()
}

func TestProxy_Refuse(t *testing.T) {
	t.Parallel()
	proxy, s := newProxy(t)
	client, server := s.pair(proxy)
	proxy.Refuse()
	proxy.Refuse()
	_, err := connect(proxy.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	requireLinked(t, client, server)
	proxy.Heal()
	s.pair(proxy)
	requireLinked(t, client, server)
}

func TestProxy_RefusesInTheTargetsName(t *testing.T) {
	t.Parallel()
	proxy, s := newProxy(t)
	s.Close()
	client, err := connect(proxy.Addr())
	if err == nil { // the kernel was faster than the proxy
		newPeer(t, client).requireEnd(syscall.ECONNRESET)
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
	client.say("first")
	require.Equal(t, "first", server.hear())
	server.say("answer")
	require.Equal(t, "answer", client.hear())
	assert.GreaterOrEqual(t, time.Since(start), 2*delay)

	client.say("second")
	proxy.Delay(0)
	client.say("third") // due before the second
	assert.Equal(t, "second", server.hear())
	assert.Equal(t, "third", server.hear())
}

func TestProxy_EndsWithTheTest(t *testing.T) {
	t.Parallel()
	s := newTarget(t)
	var client, server *peer
	t.Run("Part", func(t *testing.T) {
		proxy := testenv.NewProxy(t, s.Addr().String())
		client, server = s.pair(proxy)
		proxy.Delay(time.Hour)
		client.say("never delivered")
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
	running.Go(func() { // ends when the target is closed, right below
		for {
			conn, err := s.Accept()
			if err != nil {
				return
			}
			running.Go(func() { // ends with the proxy's links
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
	assert.Equal(t, "still there", client.ask("still there"))
	proxy.Refuse()
	proxy.Reset()
}
