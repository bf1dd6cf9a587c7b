package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
)

// dialRaw opens a TCP connection and sends request.
func (f *fixture) dialRaw(t testing.TB, request string) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", f.server.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, request)
	require.NoError(t, err)
	return conn
}

const subscribeRequest = "GET /shop.Shop/News HTTP/1.1\r\nHost: shop\r\nAccept: text/event-stream\r\n\r\n"

// A client that does not read must be disconnected, and must not delay other clients until then.
func TestAbuse_SlowReader(t *testing.T) {
	t.Parallel()
	// The timeout also applies to the other clients. They do read, but may be slow on a busy
	// machine.
	f := newFixture(t, gateway.WithWriteTimeout(3*time.Second), gateway.WithMaxStreams(1, 1))
	slow := f.dialRaw(t, subscribeRequest)
	_, err := bufio.NewReaderSize(slow, 16).ReadString(' ')
	require.NoError(t, err)
	openStream := func() int {
		return f.post(t, "/shop.Shop/Everyone", `{}`, "Accept: text/event-stream").status
	}
	require.Equal(t, http.StatusTooManyRequests, openStream(), "the slow reader holds the only stream")
	update := f.item(strings.Repeat("x", 1<<20))
	for started, status := time.Now(), 0; status != http.StatusOK; {
		require.NoError(t, f.shops[0].Publish(t.Context(), "News", update))
		assert.Equal(t, http.StatusOK, f.post(t, "/shop.Shop/Get", `{}`).status)
		if status = openStream(); status != http.StatusOK {
			require.Equal(t, http.StatusTooManyRequests, status)
			require.Less(t, time.Since(started), time.Minute, "the slow reader still holds its stream")
			<-time.After(50 * time.Millisecond)
		}
	}
}

// If a client has missed updates, its subscription must end with an error.
func TestAbuse_SlowSubscriberIsTold(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithMaxBacklogBytes(64<<10))
	slow := bufio.NewReader(f.dialRaw(t, strings.Replace(subscribeRequest, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)))
	for line := ""; line != ": open\n"; {
		var err error
		line, err = slow.ReadString('\n')
		require.NoError(t, err)
	}
	update := f.item(strings.Repeat("x", 1<<20))
	for range 20 { // more than the connection and the backlog hold
		require.NoError(t, f.shops[0].Publish(t.Context(), "News", update))
	}
	events, err := io.ReadAll(slow)
	require.NoError(t, err)
	assert.Contains(t, string(events[max(0, len(events)-1000):]), `"code":"unavailable"`)
	assert.Less(t, len(events), 20<<20)
}

// A client that sends requests but reads no responses must be disconnected, even if all responses
// are small: net/http sends such a response only after the gateway has returned.
func TestAbuse_ClientThatReadsNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithWriteTimeout(100*time.Millisecond))
	const request = "GET /healthz HTTP/1.1\r\nHost: shop\r\n\r\n"
	conn := f.dialRaw(t, request)
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4<<10)) // so that few responses fill it
	require.NoError(t, conn.SetWriteDeadline(time.Now().Add(time.Minute)))
	requests := strings.Repeat(request, 1000)
	var err error
	for err == nil {
		_, err = io.WriteString(conn, requests)
	}
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the gateway has not closed the connection")
}

func TestAbuse_HeaderFlood(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	conn := f.dialRaw(t, "GET /healthz HTTP/1.1\r\nHost: shop\r\n")
	go func() {
		for i := range 1000 {
			if _, err := fmt.Fprintf(conn, "X-%d: %s\r\n", i, strings.Repeat("x", 1000)); err != nil {
				return
			}
		}
	}()
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	assert.Contains(t, line, "431")

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.server.URL+"/healthz", nil)
	require.NoError(t, err)
	request.Header.Set("X-Long", strings.Repeat("x", 1<<20))
	if r, err := http2Client().Do(request); err == nil {
		assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, r.StatusCode)
		_ = r.Body.Close()
	}
	assert.Equal(t, http.StatusOK, f.do(t, http.MethodGet, "/healthz", "").status)
}

// A request that arrives slowly must be refused after the maximum timeout.
func TestAbuse_SlowRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithMaxTimeout(100*time.Millisecond), gateway.WithPsrpcStatus())
	for _, header := range []string{"Accept: text/event-stream", "Accept: */*", "Connect-Protocol-Version: 1"} {
		conn := f.dialRaw(t, "POST /shop.Shop/Get HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"+header+
			"\r\nContent-Length: 1000\r\n\r\n{")
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
		line, err := bufio.NewReader(conn).ReadString('\n')
		require.NoError(t, err, header)
		assert.Regexp(t, "^HTTP/1.1 (4|5)[0-9]{2} ", line, header)
	}
	conn := f.dialRaw(t, "POST /unknown HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000\r\n\r\n{")
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	assert.Contains(t, line, "404")
}

// The limit must also apply to the gateway's own services, and to HTTP/2.
func TestAbuse_SlowHealthCheck(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithMaxTimeout(50*time.Millisecond))
	body, end := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.server.URL+"/grpc.health.v1.Health/Check", body)
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	client := http2Client()
	r, err := client.Do(request)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, r.StatusCode, 400)
	require.NoError(t, r.Body.Close())
	require.NoError(t, end.Close())
	client.CloseIdleConnections()
}

// A request that ends early must be an error of the client, not of the gateway.
func TestAbuse_IncompleteRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithPsrpcStatus())
	for _, accept := range []string{"*/*", "application/x-ndjson"} {
		conn := f.dialRaw(t, "POST /shop.Shop/Get HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nAccept: "+accept+
			"\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n")
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
		line, err := bufio.NewReader(conn).ReadString('\n')
		require.NoError(t, err)
		assert.Contains(t, line, " 400 ", accept)
	}
}

// If a request arrived in time, its call may take longer than the timeout for arrival.
func TestAbuse_TimeForTheRequestIsNotForTheCall(t *testing.T) {
	t.Parallel()
	const timeout = 3 * time.Second // a request arrives in time, also on a busy machine
	f := newFixture(t, gateway.WithMaxTimeout(timeout))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.server.URL+"/shop.Shop/News", strings.NewReader(`{}`))
	require.NoError(t, err)
	request.Header.Set("Accept", "application/x-ndjson")
	r, err := f.server.Client().Do(request)
	require.NoError(t, err)
	defer r.Body.Close()
	time.AfterFunc(timeout*5/4, cancel)
	_, err = io.ReadAll(r.Body)
	require.ErrorIs(t, err, context.Canceled, "only the client ends the subscription")
}

// A client that sends its header slowly must be disconnected.
func TestServer_SlowHeader(t *testing.T) {
	t.Parallel()
	server := gateway.Server(http.NotFoundHandler())
	require.Positive(t, server.ReadHeaderTimeout)
	require.Positive(t, server.IdleTimeout)
	server.ReadHeaderTimeout = 3 * time.Second // longer than a busy machine may pause before the client sends
	f := &fixture{server: httptest.NewUnstartedServer(nil)}
	f.server.Config = server
	f.server.Start()
	t.Cleanup(f.server.Close)
	_, err := io.ReadAll(f.dialRaw(t, "GET / HTTP/1.1\r\nHost:"))
	require.NoError(t, err, "the server has closed the connection")
}

func FuzzRequest(f *testing.F) {
	fx := newFixture(f, gateway.WithMaxTimeout(50*time.Millisecond), gateway.WithLinger(time.Millisecond),
		gateway.WithReflection(), gateway.WithOpenAPI())
	for _, seed := range [][5]string{
		{"/shop.Shop/Get", `{"name": "tea"}`, "application/json", "", ""},
		{"/shop.Shop/InRoom", `{}`, "application/proto", "*/*", "1/a%2Fb"},
		{"/shop.Shop/Everyone", `{} {}`, "application/json", "text/event-stream", ""},
		{"/shop.Shop/Talk", "\x00\x00\x00\x00\x02{}", "application/connect+json", "", "%zz"},
		{"/shop.Shop/Everyone", "\x00\x00\x00\x00\x00", "application/grpc", "", "///"},
		{"/shop.Shop/Talk", "AAAAAAA=", "application/grpc-web-text", "application/x-ndjson", ""},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], seed[4])
	}
	f.Fuzz(func(t *testing.T, path, body, contentType, accept, topic string) {
		if path == "/shop.Shop/News" || strings.ContainsAny(path, "\x00\r\n ") {
			t.Skip("a subscription does not end; not a path")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, fx.server.URL, strings.NewReader(body))
		require.NoError(t, err)
		request.URL.Path = path
		for name, value := range map[string]string{"Content-Type": contentType, "Accept": accept, gateway.TopicHeader: topic} {
			if !strings.ContainsAny(value, "\x00\r\n") {
				request.Header.Set(name, value)
			}
		}
		r, err := fx.server.Client().Do(request)
		if err != nil {
			t.Skip(err)
		}
		defer r.Body.Close()
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 1<<20))
		require.Zero(t, fx.panics.Load())
	})
}

func FuzzWebSocketFrames(f *testing.F) {
	fx := newFixture(f, gateway.WithLinger(10*time.Millisecond))
	f.Add([]byte(`{"message": {"name": "one"}}`), true)
	f.Add([]byte(`{"end": true}`), true)
	f.Add([]byte(`{"message": 1}`), true)
	f.Add([]byte{0xff}, false)
	f.Fuzz(func(t *testing.T, data []byte, isText bool) {
		socket := fx.dial(t, "/shop.Shop/Talk")
		kind := websocket.MessageBinary
		if isText {
			kind = websocket.MessageText
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_ = socket.Write(ctx, kind, data)
		_ = socket.Write(ctx, websocket.MessageText, []byte(`{"message": {"name": "bye"}}`))
		for {
			if _, _, err := socket.Read(ctx); err != nil {
				require.NoError(t, ctx.Err(), "the gateway has not ended the call")
				require.Zero(t, fx.panics.Load())
				return
			}
		}
	})
}
