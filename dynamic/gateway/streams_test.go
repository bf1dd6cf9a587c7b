package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// sorted returns the lines of a body that begin with prefix, without the prefix and in sorted
// order.
func sorted(body, prefix string) []string {
	var lines []string
	for line := range strings.Lines(body) {
		if rest, found := strings.CutPrefix(strings.TrimSpace(line), prefix); found {
			lines = append(lines, rest)
		}
	}
	slices.Sort(lines)
	return lines
}

func TestEvents_MultiCall(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := f.post(t, "/shop.Shop/Everyone", `{"name": "tea"}`, "Accept: text/event-stream")
	assert.Equal(t, "text/event-stream; charset=utf-8", r.header.Get("Content-Type"))
	assert.Equal(t, []string{"complete", "message", "message"}, sorted(r.body, "event: "))
	assert.Equal(t, []string{"1", "2", "3"}, sorted(r.body, "id: "))
	assert.Equal(t, []string{`{"name":"tea"}`, `{"name":"tea"}`, `{}`}, sorted(r.body, "data: "))

	r = f.post(t, "/shop.Shop/Everyone", `{"name": "only SRV_one"}`, "Accept: application/x-ndjson")
	lines := sorted(r.body, "")
	require.Len(t, lines, 2)
	assert.JSONEq(t, `{"error": {"code": "not_found", "message": "SRV_two is not SRV_one", "server": "SRV_two"}}`, lines[0])
	assert.JSONEq(t, `{"message": {"name": "only SRV_one"}, "server": "SRV_one"}`, lines[1])

	r = f.post(t, "/shop.Shop/Everyone", `{}`, "Accept: application/x-ndjson", "Psrpc-Expect: 1")
	assert.Regexp(t, `^\{"message":\{\},"server":"SRV_(one|two)"\}\n`, r.body)
}

// GET must be refused for methods with side effects: an EventSource repeats its request, and so the
// call, when the response has ended.
func TestEvents_GetOnlyWithoutSideEffects(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const query = "?message=%7B%22name%22%3A%22tea%22%7D"
	r := f.do(t, http.MethodGet, "/shop.Shop/Look"+query, "", "Accept: application/x-ndjson")
	assert.JSONEq(t, `{"message": {"name": "tea"}}`, r.body)
	for _, method := range []string{"Get", "Everyone", "Talk"} {
		r = f.do(t, http.MethodGet, "/shop.Shop/"+method+query, "", "Accept: text/event-stream")
		assert.Equal(t, http.StatusMethodNotAllowed, r.status)
		assert.Equal(t, "POST", r.header.Get("Allow"))
	}
}

func TestEvents_FailuresBeforeTheFirstEventHaveAStatus(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := f.post(t, "/shop.Shop/Get", `{"name": "fail unprocessable_entity"}`, "Accept: application/x-ndjson")
	assert.Equal(t, http.StatusUnprocessableEntity, r.status)
	assert.JSONEq(t, `{"code": "unprocessable_entity", "message": "no fail unprocessable_entity here"}`, r.body)
}

func TestEvents_StreamWithAllMessagesInTheRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := f.post(t, "/shop.Shop/Talk", `{"name": "one"} {"name": "two"} {"name": "bye"}`, "Accept: application/x-ndjson")
	server := "SRV_one"
	if strings.Contains(r.body, "SRV_two") {
		server = "SRV_two"
	}
	assert.Equal(t, []string{`{"message":{"name":"` + server + ` heard one"}}`, `{"message":{"name":"` + server + ` heard two"}}`},
		sorted(r.body, ""))
}

func TestEvents_Subscription(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithMaxStreams(1, 1))
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.server.URL+"/shop.Shop/News", nil)
	require.NoError(t, err)
	request.Header.Set("Accept", "text/event-stream")
	r, err := f.server.Client().Do(request)
	require.NoError(t, err)
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	require.NoError(t, f.shops[0].Publish(ctx, "News", f.item("tea is ready")))
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "data: ") {
	}
	require.NoError(t, lines.Err())
	assert.Equal(t, `data: {"name":"tea is ready"}`, lines.Text())
	ended := func() bool {
		return f.post(t, "/shop.Shop/Everyone", `{}`, "Accept: text/event-stream").status == http.StatusOK
	}
	assert.False(t, ended(), "the subscription is the only stream that may be open")
	cancel()
	assert.Eventually(t, ended, patience, time.Millisecond)
}

// A subscription without updates must stay open for longer than the write timeout. This also
// applies to HTTP/2, where net/http ends a stream whose write deadline has passed.
func TestEvents_SilentSubscriptionStaysOpen(t *testing.T) {
	t.Parallel()
	const timeout = 3 * time.Second // longer than a busy machine may pause while the gateway writes
	f := newFixture(t, gateway.WithWriteTimeout(timeout))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.server.URL+"/shop.Shop/News", nil)
	require.NoError(t, err)
	request.Header.Set("Accept", "text/event-stream")
	client := http2Client()
	defer client.CloseIdleConnections()
	r, err := client.Do(request)
	require.NoError(t, err)
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	require.True(t, lines.Scan())
	require.Equal(t, ": open", lines.Text())
	<-time.After(timeout * 3 / 2) // the silence
	require.NoError(t, f.shops[0].Publish(t.Context(), "News", f.item("tea")))
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "data: ") {
	}
	require.NoError(t, lines.Err())
	assert.Contains(t, lines.Text(), "tea")
}

// At its shutdown, the server must end streams and subscriptions, but let calls finish.
func TestServer_ShutdownEndsStreamsAndWaitsForCalls(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	callCtx, endCall := context.WithCancel(t.Context())
	called := make(chan struct{})
	go func() {
		defer close(called)
		request, _ := http.NewRequestWithContext(callCtx, http.MethodPost, f.server.URL+"/shop.Shop/Get", strings.NewReader(`{"name": "wait"}`))
		request.Header.Set("Content-Type", "application/json")
		if r, err := f.server.Client().Do(request); err == nil {
			_ = r.Body.Close()
		}
	}()
	assert.Eventually(t, func() bool { return f.waiting.Load() == 1 }, patience, time.Millisecond)
	var bodies []io.Reader
	for _, format := range []string{"text/event-stream", "application/x-ndjson"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.server.URL+"/shop.Shop/News", nil)
		require.NoError(t, err)
		request.Header.Set("Accept", format)
		r, err := f.server.Client().Do(request)
		require.NoError(t, err)
		defer r.Body.Close()
		bodies = append(bodies, r.Body)
	}
	// The WebSocket of Get waits for the first frame of its client.
	sockets := []*websocket.Conn{f.dial(t, "/shop.Shop/Talk"), f.dial(t, "/shop.Shop/Get")}

	shutdown := make(chan error, 1)
	go func() { shutdown <- f.server.Config.Shutdown(t.Context()) }()
	for _, body := range bodies {
		text, err := io.ReadAll(body)
		require.NoError(t, err)
		assert.Contains(t, string(text), `{"code":"unavailable","message":"the gateway shuts down"}`)
	}
	for _, socket := range sockets {
		_, frame, err := socket.Read(t.Context())
		require.NoError(t, err)
		assert.JSONEq(t, `{"error": {"code": "unavailable", "message": "the gateway shuts down"}}`, string(frame))
	}
	assert.EqualValues(t, 1, f.waiting.Load(), "the call goes on")
	select {
	case err := <-shutdown:
		t.Errorf("Shutdown has not waited for the call: %v", err)
	default:
	}
	endCall()
	<-called
	require.NoError(t, <-shutdown)
}

// If a subscription ends with an error, the client must get that error.
func TestEvents_SubscriptionFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	conn := f.dialRaw(t, subscribeRequest)
	lines := bufio.NewScanner(conn)
	for lines.Scan() && lines.Text() != ": open" {
	}
	require.NoError(t, f.bus.Close())
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "event: ") {
	}
	assert.Equal(t, "event: error", lines.Text())
}

func TestEvents_TimeoutOfASubscription(t *testing.T) {
	t.Parallel()
	r := newFixture(t).do(t, http.MethodGet, "/shop.Shop/News", "", "Accept: text/event-stream", "Connect-Timeout-Ms: 20")
	assert.Contains(t, r.body, `"code":"deadline_exceeded"`)
}

// If a call times out, the client must get the error before the connection is closed.
func TestWebSocket_Timeout(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	socket, _, err := websocket.Dial(t.Context(), f.server.URL+"/shop.Shop/News", &websocket.DialOptions{ //nolint:bodyclose // the socket closes it
		Subprotocols: []string{gateway.Subprotocol}, HTTPHeader: http.Header{"Connect-Timeout-Ms": {"20"}},
	})
	require.NoError(t, err)
	defer socket.CloseNow()
	_, frame, err := socket.Read(t.Context())
	require.NoError(t, err)
	assert.Contains(t, string(frame), `"code":"deadline_exceeded"`)
}

func TestStreams_AreLimitedForEachAddress(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithMaxStreams(0, 1))
	socket := f.dial(t, "/shop.Shop/Talk")
	r := f.post(t, "/shop.Shop/Everyone", `{}`, "Accept: text/event-stream")
	assert.Equal(t, http.StatusTooManyRequests, r.status)
	assert.Equal(t, "1", r.header.Get("Retry-After"))
	assert.Equal(t, http.StatusOK, f.post(t, "/shop.Shop/Get", `{}`).status, "single calls are not streams")
	require.NoError(t, socket.Close(websocket.StatusNormalClosure, ""))
	assert.Eventually(t, func() bool {
		return f.post(t, "/shop.Shop/Everyone", `{}`, "Accept: text/event-stream").status == http.StatusOK
	}, patience, 5*time.Millisecond)
}

// dial opens a WebSocket.
func (f *fixture) dial(t testing.TB, path string) *websocket.Conn {
	t.Helper()
	socket, _, err := websocket.Dial(t.Context(), f.server.URL+path, //nolint:bodyclose // the socket closes it
		&websocket.DialOptions{Subprotocols: []string{gateway.Subprotocol}, HTTPClient: f.server.Client()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = socket.CloseNow() })
	return socket
}

func exchange(t testing.TB, socket *websocket.Conn, send string) string {
	t.Helper()
	require.NoError(t, socket.Write(t.Context(), websocket.MessageText, []byte(send)))
	_, received, err := socket.Read(t.Context())
	require.NoError(t, err)
	return string(received)
}

func TestWebSocket_Stream(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	socket := f.dial(t, "/shop.Shop/Talk")
	assert.Contains(t, exchange(t, socket, `{"message": {"name": "one"}}`), "heard one")
	assert.Contains(t, exchange(t, socket, `{"message": {"name": "two"}}`), "heard two")
	assert.JSONEq(t, `{"end": true}`, exchange(t, socket, `{"message": {"name": "bye"}}`))
	_, _, err := socket.Read(t.Context())
	assert.Equal(t, websocket.StatusNormalClosure, websocket.CloseStatus(err))
}

func TestWebSocket_Single(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	assert.JSONEq(t, `{"message": {"name": "tea"}}`, exchange(t, f.dial(t, "/shop.Shop/Get"), `{"message": {"name": "tea"}}`))
	assert.JSONEq(t, `{"error": {"code": "aborted", "message": "no fail aborted here"}}`,
		exchange(t, f.dial(t, "/shop.Shop/Get"), `{"message": {"name": "fail aborted"}}`))
	assert.Contains(t, exchange(t, f.dial(t, "/shop.Shop/Get"), `hello`), "invalid_argument")
}

// A subscription has no request, so it must start without a frame of the client.
func TestWebSocket_Subscription(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	socket := f.dial(t, "/shop.Shop/News")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // the test cannot see when the WebSocket has subscribed
		defer close(stopped)
		for ticker := time.NewTicker(5 * time.Millisecond); ; <-ticker.C {
			select {
			case <-stop:
				ticker.Stop()
				return
			default:
				assert.NoError(t, f.shops[0].Publish(t.Context(), "News", f.item("tea is ready")))
			}
		}
	}()
	_, received, err := socket.Read(t.Context())
	close(stop)
	<-stopped
	require.NoError(t, err)
	assert.JSONEq(t, `{"message": {"name": "tea is ready"}}`, string(received))
}

// Each WebSocket must count as a stream, because it can stay open without a call.
func TestWebSocket_CountsAsAStream(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithMaxStreams(0, 1))
	f.dial(t, "/shop.Shop/Get")
	_, r, err := websocket.Dial(t.Context(), f.server.URL+"/shop.Shop/Get", //nolint:bodyclose // it has none
		&websocket.DialOptions{Subprotocols: []string{gateway.Subprotocol}})
	require.Error(t, err)
	assert.Equal(t, http.StatusTooManyRequests, r.StatusCode)
}

func TestWebSocket_Refuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	socket, _, err := websocket.Dial(t.Context(), f.server.URL+"/shop.Shop/Get", nil) //nolint:bodyclose // the socket closes it
	require.NoError(t, err)
	_, _, err = socket.Read(t.Context())
	assert.Equal(t, websocket.StatusPolicyViolation, websocket.CloseStatus(err), "no subprotocol")
	_, r, err := websocket.Dial(t.Context(), f.server.URL+"/shop.Shop/Get", &websocket.DialOptions{ //nolint:bodyclose // it has none
		Subprotocols: []string{gateway.Subprotocol}, HTTPHeader: http.Header{"Origin": {"https://other.example"}},
	})
	require.Error(t, err)
	assert.Equal(t, http.StatusForbidden, r.StatusCode)
}

// connectClient returns a client. The options select Connect, gRPC or gRPC-Web.
func (f *fixture) connectClient(opts ...connecthttp.Option) *connect.Client {
	return connect.NewClient(connecthttp.NewTransport(http2Client(), f.server.URL, opts...))
}

// http2Client returns an HTTP client that uses HTTP/2 without TLS.
func http2Client() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: protocols}}
}

func TestConnect_AllKindsAndProtocols(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]connecthttp.Option{
		"connect": nil, "connect with JSON": {connecthttp.WithProtoJSON()},
		"grpc": {connecthttp.WithGRPC()}, "grpc with JSON": {connecthttp.WithGRPC(), connecthttp.WithProtoJSON()},
		"grpc-web": {connecthttp.WithGRPCWeb()}, "gzip": {connecthttp.WithSendGzip()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			client := f.connectClient(opts...)
			response := f.item("")
			require.NoError(t, client.CallUnary(t.Context(), connect.Spec{Procedure: "/shop.Shop/Get"}, f.item("tea"), response))
			assert.Equal(t, "tea", nameOf(response))
			err := client.CallUnary(t.Context(), connect.Spec{Procedure: "/shop.Shop/Get"}, f.item("fail aborted"), response)
			assert.Equal(t, connect.CodeAborted, connect.CodeOf(err))
			err = client.CallUnary(t.Context(), connect.Spec{Procedure: "/shop.Shop/Nope"}, f.item(""), response)
			assert.Equal(t, connect.CodeUnimplemented, connect.CodeOf(err))

			spec := connect.Spec{Procedure: "/shop.Shop/Everyone", StreamType: connect.StreamTypeServer}
			responses, err := client.CallServerStream(t.Context(), spec, f.item("only SRV_one"))
			require.NoError(t, err)
			assert.Equal(t, []string{"only SRV_one"}, f.receiveAll(t, responses))

			spec = connect.Spec{Procedure: "/shop.Shop/Talk", StreamType: connect.StreamTypeBidi}
			stream, err := client.CallClientStream(t.Context(), spec)
			require.NoError(t, err)
			for _, word := range []string{"one", "two"} {
				require.NoError(t, stream.Send(f.item(word)))
				message := f.item("")
				require.NoError(t, stream.Receive(message))
				assert.Contains(t, nameOf(message), " heard "+word)
			}
			require.NoError(t, stream.Send(f.item("bye")))
			assert.Empty(t, f.receiveAll(t, stream))
		})
	}
}

func (f *fixture) receiveAll(t testing.TB, stream connect.ClientStream) (names []string) {
	t.Helper()
	for {
		message := f.item("")
		err := stream.Receive(message)
		if errors.Is(err, io.EOF) {
			return names
		}
		require.NoError(t, err)
		names = append(names, nameOf(message))
	}
}

// The gateway must close a stream if the server is silent after the client's last message. On the
// bus, a client cannot tell a server that it has sent its last message.
func TestStreams_EndIfTheServerIsSilentAfterTheLastMessage(t *testing.T) {
	t.Parallel()
	// The server must answer within this time, even on a busy machine.
	f := newFixture(t, gateway.WithLinger(3*time.Second))

	t.Run("ndjson", func(t *testing.T) {
		t.Parallel()
		r := f.post(t, "/shop.Shop/Talk", `{"name": "one"}`, "Accept: application/x-ndjson")
		assert.Contains(t, r.body, " heard one")
	})

	t.Run("grpc", func(t *testing.T) {
		t.Parallel()
		stream, err := f.connectClient(connecthttp.WithGRPC()).CallClientStream(t.Context(),
			connect.Spec{Procedure: "/shop.Shop/Talk", StreamType: connect.StreamTypeBidi})
		require.NoError(t, err)
		require.NoError(t, stream.Send(f.item("one")))
		require.NoError(t, stream.CloseSend())
		assert.Len(t, f.receiveAll(t, stream), 1)
	})
}

// grpcConn returns a connection of gRPC's Go client.
func (f *fixture) grpcConn(t testing.TB) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(strings.TrimPrefix(f.server.URL, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

func TestGRPC_GoClient(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	conn := f.grpcConn(t)
	response := dynamicpb.NewMessage(f.item("").Descriptor())
	require.NoError(t, conn.Invoke(t.Context(), "/shop.Shop/Get", f.item("tea"), response))
	assert.Equal(t, "tea", nameOf(response))
	err := conn.Invoke(t.Context(), "/shop.Shop/Get", f.item("fail not_found"), response)
	assert.Equal(t, codes.NotFound, status.Code(err))
	assert.Len(t, status.Convert(err).Details(), 1)
	err = conn.Invoke(t.Context(), "/shop.Shop/Nope", f.item(""), response)
	assert.Equal(t, codes.Unimplemented, status.Code(err))

	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/shop.Shop/Talk")
	require.NoError(t, err)
	require.NoError(t, stream.SendMsg(f.item("one")))
	require.NoError(t, stream.RecvMsg(response))
	assert.Contains(t, nameOf(response), "heard one")
	require.NoError(t, stream.SendMsg(f.item("bye")))
	require.ErrorIs(t, stream.RecvMsg(response), io.EOF)
}

// If a client goes away, its call must be canceled, so that the handler's context ends.
func TestGateway_ClientThatGoesAway(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	goAway := f.startCall(t)
	goAway()
	require.Eventually(t, func() bool { return f.running() == 0 }, patience, time.Millisecond)
}

func TestOpenAPI_DescribesTheServedMethods(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithOpenAPI())
	var document struct {
		OpenAPI    string         `json:"openapi"`
		Paths      map[string]any `json:"paths"`
		Components struct {
			Schemas map[string]any `json:"schemas"`
		} `json:"components"`
	}
	r := f.do(t, http.MethodGet, "/openapi.json", "")
	require.NoError(t, json.Unmarshal([]byte(r.body), &document))
	assert.Equal(t, "3.1.0", document.OpenAPI)
	assert.Len(t, document.Paths, 6, "all but Hidden")
	assert.Contains(t, document.Components.Schemas, "shop.Item")
	assert.Equal(t, http.StatusNotFound, newFixture(t).do(t, http.MethodGet, "/openapi.json", "").status)
}
