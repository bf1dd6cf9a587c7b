package natsbus_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// patient adds long timeouts to url, unless url already sets them. With shorter ones, a bus could
// give up its connection because the machine is slow.
func patient(url string) string {
	separator := "?"
	if strings.Contains(url, "?") {
		separator = "&"
	}
	for _, parameter := range []string{"connect_timeout=", "probe_interval="} {
		if !strings.Contains(url, parameter) {
			url += separator + parameter + testTimeout.String()
			separator = "&"
		}
	}
	return url
}

// requireWorking opens a bus and requires that it delivers a frame. The bus is closed when the test
// ends. By default, the bus has long timeouts.
func requireWorking(t *testing.T, url string) bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), patient(url))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	frames, _ := listen(t, b, results, bus.Broadcast)
	publish(t, b, results, []byte("hello"))
	require.Equal(t, "hello", string(soon(t, frames, "frame")))
	return b
}

func TestOpen_Credentials(t *testing.T) {
	t.Parallel()
	password := testenv.NATS(t, func(o *server.Options) { o.Username, o.Password = "user", "s%cret" })
	token := testenv.NATS(t, func(o *server.Options) { o.Authorization = "t0ken" })
	key, err := nkeys.CreateUser()
	require.NoError(t, err)
	public, err := key.PublicKey()
	require.NoError(t, err)
	seed, err := key.Seed()
	require.NoError(t, err)
	seedFile := filepath.Join(t.TempDir(), "user.nk")
	require.NoError(t, os.WriteFile(seedFile, seed, 0o600))
	nkey := testenv.NATS(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} })

	requireWorking(t, "nats://user:s%25cret@"+addr(password.URL()))
	requireWorking(t, "nats://t0ken@"+addr(token.URL()))
	requireWorking(t, nkey.URL()+"?nkey="+seedFile)

	_, err = bus.Open(t.Context(), patient("nats://user:wr0ng@"+addr(password.URL())))
	requireCode(t, errors.Unauthenticated, err)
	assert.NotContains(t, err.Error(), "wr0ng")
}

func TestOpen_Parameters(t *testing.T) {
	t.Parallel()
	broker := testenv.NATS(t)
	seen := observe(t, connect(t, broker.URL()), ">")
	b := requireWorking(t, broker.URL()+"?name=test&prefix=x.&subject_per_method=true&inbox_prefix=box&probe_interval=11s"+
		"&pending_limit=1000&connect_timeout=12s&tls_first=false")
	assert.Equal(t, "x.CLI.Svc.ID.RES", soon(t, seen, "message").Subject)
	require.NoError(t, b.Publish(t.Context(), requests, nil, newReports()))
	m := soon(t, seen, "message with a key")
	assert.Equal(t, "x.SRV.Svc.Q.Method.REQ", m.Subject)
	assert.True(t, strings.HasPrefix(m.Reply, "box."), m.Reply)
	names := []string{}
	for _, conn := range connections(t, broker) {
		names = append(names, conn.Name)
	}
	assert.Contains(t, names, "test")
}

func connections(t *testing.T, broker *testenv.NATSServer) []*server.ConnInfo {
	t.Helper()
	list, err := broker.Server().Connz(&server.ConnzOptions{})
	require.NoError(t, err)
	return list.Conns
}

func TestOpen_SeveralServers(t *testing.T) {
	t.Parallel()
	free := testenv.NewProxy(t, "127.0.0.1:1")
	free.Refuse()
	requireWorking(t, "nats://"+free.Addr()+","+addr(testenv.NATS(t).URL()))
}

func TestOpen_TLS(t *testing.T) {
	t.Parallel()
	certificate := testenv.NewCertificate(t)
	broker := testenv.NATS(t, func(o *server.Options) {
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate.Certificate}, MinVersion: tls.VersionTLS12}
	})
	url := "tls://" + strings.TrimPrefix(addr(broker.URL()), "tls://")
	requireWorking(t, url+"?tls_ca="+certificate.File)
	_, err := bus.Open(t.Context(), url)
	requireCode(t, errors.Unavailable, err)
}

// If Open cannot connect because of a likely mistake, the error must contain the address and say
// what to check.
func TestOpen_Advice(t *testing.T) {
	t.Parallel()
	certificate := testenv.NewCertificate(t)
	encrypted := testenv.NATS(t, func(o *server.Options) {
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate.Certificate}, MinVersion: tls.VersionTLS12}
	})
	protected := testenv.NATS(t, func(o *server.Options) { o.Username, o.Password = "user", "password" })
	free := testenv.NewProxy(t, "127.0.0.1:1")
	free.Refuse()
	other, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is closed when the test ends
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Close()) })
	const silent = "not NATS" // the only attempt that ends at its timeout
	for _, tt := range []struct{ name, scheme, address, want string }{
		{"nobody", "nats", free.Addr(), "connection refused"},
		{"password", "nats", addr(protected.URL()), "check the user name, the password, the token"},
		{"no TLS", "tls", addr(protected.URL()), "if the server does not use TLS, the scheme is nats instead of tls"},
		{"private authority", "tls", strings.TrimPrefix(addr(encrypted.URL()), "tls://"), "set tls_ca to the file with its certificate"},
		{silent, "nats", other.Addr().String(), "check that this is the address of a NATS server"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := tt.scheme + "://user:secret@" + tt.address
			if tt.name == silent {
				url += "?connect_timeout=300ms"
			}
			_, err := bus.Open(t.Context(), patient(url))
			require.ErrorContains(t, err, "nats bus cannot connect to "+tt.address+": ")
			require.ErrorContains(t, err, tt.want)
			assert.NotContains(t, err.Error(), "secret")
		})
	}
}

func TestOpen_WrongURLs(t *testing.T) {
	t.Parallel()
	for url, says := range map[string]string{
		"nats://":                              "want nats://host:port",
		"nats://127.0.0.1:1/path":              "without a path",
		"nats://127.0.0.1:1?prefx=a":           `no parameter "prefx"; supported are connect_timeout, creds,`,
		"nats://127.0.0.1:1?name=":             "name is empty",
		"nats://127.0.0.1:1?probe_interval=2":  "probe_interval=2",
		"nats://127.0.0.1:1?probe_interval=0s": "must be positive",
		"nats://127.0.0.1:1?pending_limit=x":   "pending_limit=x",
		"nats://127.0.0.1:1?tls_first=maybe":   "tls_first=maybe",
		"nats://127.0.0.1:1?nkey=/no/file":     "nkey=/no/file",
		"tls://127.0.0.1:1?x=%zz":              "malformed parameters",
	} {
		_, err := bus.Open(t.Context(), strings.Replace(url, "://", "://user:pa55word@", 1))
		require.ErrorContains(t, err, says, url)
		assert.NotContains(t, err.Error(), "pa55word")
		assert.NotContains(t, err.Error(), "unavailable")
	}
	_, err := bus.Open(t.Context(), "nats://127.0.0.1:1?name=&prefix=&x=y")
	require.ErrorContains(t, err, "name is empty")
	require.ErrorContains(t, err, "prefix is empty")
	require.ErrorContains(t, err, `"x"`)
	for _, parameter := range []string{"tls_cert", "tls_key"} {
		_, err := bus.Open(t.Context(), "nats://127.0.0.1:1?"+parameter+"=/no/file")
		requireCode(t, errors.InvalidArgument, err)
		require.ErrorContains(t, err, "tls_cert and tls_key need each other")
	}
}

func TestOpen_NoServer(t *testing.T) {
	t.Parallel()
	proxy := testenv.NewProxy(t, "127.0.0.1:1")
	proxy.Refuse()
	for _, query := range []string{"", "?creds=/no/file", "?tls_ca=/no/file", "?tls_cert=/no/file&tls_key=/no/file"} {
		_, err := bus.Open(t.Context(), "nats://user:pa55word@"+proxy.Addr()+query)
		requireCode(t, errors.Unavailable, err)
		assert.NotContains(t, err.Error(), "pa55word")
	}
}

// Open must return when its context is canceled, even if the server accepts the connection but does
// not send anything.
func TestOpen_ContextEnds(t *testing.T) {
	t.Parallel()
	proxy := testenv.NewProxy(t, "127.0.0.1:1")
	proxy.BlackHoleAll()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	started := time.Now()
	_, err := bus.Open(ctx, "nats://"+proxy.Addr()+"?connect_timeout=1m")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(started), testTimeout)
}

// After the context of Open has ended, the open bus must still work and must still be able to
// reconnect.
func TestOpen_OutlivesItsContext(t *testing.T) {
	t.Parallel()
	proxy := testenv.NewProxy(t, addr(testenv.NATS(t).URL()))
	ctx, cancel := context.WithCancel(t.Context())
	b, err := bus.Open(ctx, patient("nats://"+proxy.Addr()))
	require.NoError(t, err)
	defer b.Close()
	cancel()
	frames, _ := listen(t, b, results, bus.Broadcast)
	proxy.Cut()
	require.Eventually(t, func() bool {
		return b.(bus.Monitored).Stats().Disconnects == 1 && b.Publish(t.Context(), results, nil, nil) == nil
	}, testTimeout, testTimeout/1000, "the bus has no event handler")
	soon(t, frames, "frame")
}

// The bus must close the connections of failed attempts to reconnect. Such attempts fail, for
// example, if a proxy accepts connections but cannot reach the server.
func TestOpen_FailedAttemptsAreClosed(t *testing.T) {
	t.Parallel()
	broker := testenv.NATS(t)
	front, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	t.Cleanup(func() { front.Close() })
	accept := func() *net.TCPConn {
		conn, err := front.Accept()
		if err != nil {
			return nil
		}
		return conn.(*net.TCPConn)
	}
	const attempts = 5
	closed := make(chan error, attempts)
	cut := make(chan struct{})
	running.Go(func() { // this goroutine ends when the listener is closed
		first := accept()
		server, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr(broker.URL()))
		if err != nil {
			return
		}
		running.Go(func() { io.Copy(server, first) })
		running.Go(func() { io.Copy(first, server) })
		<-cut
		server.Close()
		first.Close()
		for conn := accept(); conn != nil; conn = accept() {
			conn.CloseWrite()
			running.Go(func() {
				defer conn.Close()
				conn.SetReadDeadline(time.Now().Add(testTimeout))
				_, err := io.Copy(io.Discard, conn)
				select {
				case closed <- err:
				default: // the test has ended and no longer reads from the channel
				}
			})
		}
	})
	requireWorking(t, "nats://"+front.Addr().String())
	close(cut)
	for range attempts {
		require.NoError(t, soon(t, closed, "end of a failed attempt"))
	}
}

func TestOpen_Logger(t *testing.T) {
	t.Parallel()
	logger := slog.New(slog.DiscardHandler)
	b, err := bus.Open(t.Context(), testenv.NATS(t).URL(), bus.WithLogger(logger))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	assert.Same(t, logger, bus.LoggerOf(b))
}
