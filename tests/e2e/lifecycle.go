package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
)

// testLifecycle checks which operations end when a conn or a server is closed, or when a topic is
// deregistered.
func testLifecycle(t *testing.T, network Network) {
	for name, test := range map[string]func(*testing.T, Network){
		"ConnClose":       testConnClose,
		"ServerKill":      testServerKill,
		"ServerShutdown":  testServerShutdown,
		"DeregisterTopic": testDeregisterTopic,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, network)
		})
	}
}

// openThings holds one operation of every kind that is in progress on a conn.
type openThings struct {
	// failed receives the errors of the single calls.
	failed       chan error
	responses    <-chan *dynamic.Response[*api.MyResponse]
	streams      []generatedStream
	subscription dynamic.Subscription[*api.MyUpdate]
	handlers     waiting
}

// openAll starts one operation of every kind and returns when all handlers are running.
func openAll(t *testing.T, w *world, server *dynamic.Server, conn *dynamic.Conn) *openThings {
	t.Helper()
	o := &openThings{failed: make(chan error, len(singleKinds)), handlers: newWaiting()}
	o.handlers.serve(w, server)
	for _, kind := range singleKinds {
		call := newGeneratedCall(t, conn, kind)
		go func() { // this goroutine ends when the conn is closed or the handler returns
			_, err := call(context.Background(), sample("Ada"))
			o.failed <- err
		}()
	}
	var err error
	multi := newClient[*api.MyRequest, *api.MyResponse](t, conn, fullName(calls, kindMulti), nil)
	o.responses, err = multi.CallMulti(context.Background(), sample("Ada"))
	require.NoError(t, err)
	for _, kind := range streamKinds {
		o.streams = append(o.streams, openGenerated(t, conn, kind))
	}
	o.subscription, err = newClient[*api.Ignored, *api.MyUpdate](t, conn, fullName(feeds, kindMulti), nil).Subscribe(context.Background())
	require.NoError(t, err)
	for range len(singleKinds) + 1 + len(streamKinds) {
		soon(t, o.handlers.started, "handler")
	}
	return o
}

// testConnClose checks that Conn.Close ends all operations with ErrClientClosed or ErrStreamClosed,
// and that new operations fail.
func testConnClose(t *testing.T, network Network) {
	w := newWorld(t, network)
	conn := w.conn(dynamic.WithClientTimeout(time.Hour))
	o := openAll(t, w, w.server(), conn)
	call := newGeneratedCall(t, conn, kindQueue)

	closed := make(chan error, 1)
	go func() { closed <- conn.Close() }() // this goroutine ends when Close returns
	require.NoError(t, soon(t, closed, "Close"))
	soon(t, conn.Done(), "Done")
	for range singleKinds {
		require.ErrorIs(t, soon(t, o.failed, "end of a call"), errors.ErrClientClosed)
	}
	if response, ok := <-o.responses; ok {
		require.ErrorIs(t, response.Err, errors.ErrClientClosed)
		ended(t, o.responses, "responses")
	}
	for _, stream := range o.streams {
		ended(t, stream.Channel(), "stream")
		require.ErrorIs(t, stream.Err(), errors.ErrStreamClosed)
	}
	ended(t, o.subscription.Channel(), "subscription")
	require.ErrorIs(t, o.subscription.Err(), errors.ErrClientClosed)
	for range len(singleKinds) + 1 + len(streamKinds) {
		soon(t, o.handlers.finished, "end of a handler")
	}

	_, err := call(t.Context(), sample("Ada"))
	require.ErrorIs(t, err, errors.ErrClientClosed)
	_, err = dynamic.NewClient[*api.MyRequest, *api.MyResponse](conn, fullName(calls, kindQueue))
	require.ErrorIs(t, err, errors.ErrClientClosed)
	_, err = dynamic.InvokeStream(t.Context(), conn, fullName(streams, kindQueue))
	require.ErrorIs(t, err, errors.ErrClientClosed)
}

// testServerKill checks that Server.Kill immediately ends handlers and streams, and that the
// clients' calls and streams then fail long before their timeout. Another server must be able to
// serve the next call.
func testServerKill(t *testing.T, network Network) {
	w := newWorld(t, network)
	conn := w.conn(dynamic.WithClientTimeout(time.Hour))
	server := w.server()
	o := openAll(t, w, server, conn)

	server.Kill()
	soon(t, server.Done(), "Done")
	for range len(singleKinds) + 1 + len(streamKinds) {
		soon(t, o.handlers.finished, "end of a handler")
	}
	for range singleKinds {
		require.Error(t, soon(t, o.failed, "end of a call"))
	}
	for _, stream := range o.streams {
		ended(t, stream.Channel(), "stream")
		require.ErrorIs(t, stream.Err(), errors.ErrStreamEOF)
	}
	require.NoError(t, o.subscription.Err(), "subscriptions do not depend on the server")
	_, err := w.register(server, calls, nil)
	require.ErrorIs(t, err, errors.ErrServerClosed)

	w.serve(w.server(), calls, dynamic.Handlers{kindQueue: shapes[0].unary()})
	_, err = newGeneratedCall(t, conn, kindQueue)(t.Context(), sample("Ada"))
	require.NoError(t, err)
}

// testServerShutdown checks that Server.Shutdown ends streams immediately, but waits until the
// running calls have completed.
func testServerShutdown(t *testing.T, network Network) {
	w := newWorld(t, network)
	server, conn := w.server(), w.conn()
	started, release := make(chan struct{}, 10), make(chan struct{})
	handle := func(_ context.Context, request *api.MyRequest) (*api.MyResponse, error) {
		started <- struct{}{}
		<-release
		return respond(request), nil
	}
	handlers := dynamic.Handlers{}
	for _, kind := range callKinds {
		handlers[kind] = dynamic.Unary(handle)
	}
	w.serve(server, calls, handlers)
	w.serve(server, streams, dynamic.Handlers{kindQueue: shapes[0].stream()})
	stream := openGenerated(t, conn, kindQueue)
	answered := make(chan error, len(callKinds))
	for _, kind := range callKinds {
		call := newGeneratedCall(t, conn, kind)
		go func() { // this goroutine ends when the call returns
			_, err := call(context.Background(), sample("Ada"))
			answered <- err
		}()
		soon(t, started, "handler")
	}
	shut := make(chan error, 1)
	// This goroutine ends when the handlers have returned.
	go func() { shut <- server.Shutdown(context.Background()) }()
	soon(t, stream.Context().Done(), "end of the stream")
	require.ErrorIs(t, stream.Err(), errors.ErrStreamEOF)
	assert.Empty(t, shut, "handlers are running")
	close(release)
	for range callKinds {
		require.NoError(t, soon(t, answered, "answer"))
	}
	require.NoError(t, soon(t, shut, "end of Shutdown"))
}

// testDeregisterTopic checks that deregistering a topic ends its streams, but not its running
// calls. Calls and streams on other topics must not be affected.
func testDeregisterTopic(t *testing.T, network Network) {
	w := newWorld(t, network)
	server, conn := w.server(), w.conn()
	started, release := make(chan struct{}, 10), make(chan struct{})
	registration := w.serve(server, calls, dynamic.Handlers{
		"QueueTopic": dynamic.Unary(func(_ context.Context, request *api.MyRequest) (*api.MyResponse, error) {
			started <- struct{}{}
			<-release
			return respond(request), nil
		}),
	})
	streaming := w.serve(server, streams, dynamic.Handlers{"QueueTopic": shapes[0].stream()})
	for _, topic := range []string{"going", "staying"} {
		require.NoError(t, registration.RegisterTopic("QueueTopic", topic))
		require.NoError(t, streaming.RegisterTopic("QueueTopic", topic))
	}
	answered := make(chan error, 1)
	going := newGeneratedCall(t, conn, "QueueTopic", "going")
	go func() { // this goroutine ends when the call returns
		_, err := going(context.Background(), sample("Ada"))
		answered <- err
	}()
	soon(t, started, "handler")
	goingStream := openGenerated(t, conn, "QueueTopic", dynamic.WithTopic("going"))
	stayingStream := openGenerated(t, conn, "QueueTopic", dynamic.WithTopic("staying"))

	require.NoError(t, registration.DeregisterTopic("QueueTopic", "going"))
	require.NoError(t, streaming.DeregisterTopic("QueueTopic", "going"))
	soon(t, goingStream.Context().Done(), "end of the stream")
	require.ErrorIs(t, goingStream.Err(), errors.ErrStreamEOF)
	require.NoError(t, stayingStream.Send(&api.MyClientMessage{}))
	_, err := going(t.Context(), sample("Ada"), dynamic.WithRequestTimeout(time.Second))
	require.Error(t, err, "the topic has no server")
	requireCode(t, errors.NotFound, registration.DeregisterTopic("QueueTopic", "going"))

	close(release)
	require.NoError(t, soon(t, answered, "answer"))
	_, err = newGeneratedCall(t, conn, "QueueTopic", "staying")(t.Context(), sample("Ada"))
	require.NoError(t, err)
	require.NoError(t, registration.RegisterTopic("QueueTopic", "going"), "a topic can be registered again")
	_, err = going(t.Context(), sample("Ada"))
	require.NoError(t, err)
}
