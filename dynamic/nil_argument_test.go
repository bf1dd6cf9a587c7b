package dynamic_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// A call with a nil conn or a nil context must return an error that contains the name of the
// method.
func TestInvoke_NilConnOrContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for want, arguments := range map[string]struct {
		ctx  context.Context
		conn *dynamic.Conn
	}{
		"the conn is nil": {t.Context(), nil}, "the context is nil": {nil, w.conn},
	} {
		ctx, conn := arguments.ctx, arguments.conn
		_, call := dynamic.Invoke(ctx, conn, echo, nil)
		_, multi := dynamic.InvokeMulti(ctx, conn, echo, nil)
		_, subscribe := dynamic.InvokeSubscribe(ctx, conn, echo)
		_, stream := dynamic.InvokeStream(ctx, conn, echo)
		for _, err := range []error{call, multi, subscribe, stream} {
			requireCode(t, errors.InvalidArgument, err)
			require.EqualError(t, err, "method "+echo+": "+want)
		}
	}
	require.EqualError(t, dynamic.Publish(t.Context(), nil, echo, nil), "method "+echo+": the conn is nil")
	_, err := dynamic.NewClient[text, text](nil, echo)
	require.EqualError(t, err, "method "+echo+": the conn is nil")
	_, err = dynamic.NewMethodClient[text, text](w.conn, nil)
	requireCode(t, errors.InvalidArgument, err)
}

// Functions that take a context must return an error if it is nil. Later calls with a valid context
// must still work.
func TestNilContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{"Echo": dynamic.Unary(echoHandler), "Direct": dynamic.Unary(echoHandler)})
	kinds, err := w.server.Register(descriptor(t, w.registry, "test.Kinds"), dynamic.Handlers{
		"Flow": dynamic.Stream(func(stream dynamic.ServerStream[proto.Message, proto.Message]) error {
			<-stream.Context().Done()
			return nil
		}),
	}, dynamic.AllowMissing())
	require.NoError(t, err)
	client := func(name string) *dynamic.Client[proto.Message, proto.Message] {
		client, err := dynamic.NewClient[proto.Message, proto.Message](w.conn, name)
		require.NoError(t, err)
		return client
	}
	stream, err := client("test.Kinds/Flow").OpenStream(t.Context(), dynamic.WithStreamWindow(8))
	require.NoError(t, err)
	subscription, err := client("test.Kinds/Feed").Subscribe(t.Context())
	require.NoError(t, err)
	request := wrapperspb.String("")
	update := wrapperspb.String("")

	var noContext context.Context
	for name, call := range map[string]func() error{
		"Call":       func() error { _, err := client(echo).Call(noContext, request); return err },
		"CallMulti":  func() error { _, err := client("test.Kinds/All").CallMulti(noContext, nil); return err },
		"OpenStream": func() error { _, err := client("test.Kinds/Flow").OpenStream(noContext); return err },
		"Subscribe":  func() error { _, err := client("test.Kinds/Feed").Subscribe(noContext); return err },
		"Responses": func() error {
			for response := range client("test.Kinds/All").Responses(noContext, nil) {
				return response.Err
			}
			return nil
		},
		"Publish":              func() error { return dynamic.Publish(noContext, w.conn, "test.Kinds/Feed", update) },
		"Registration.Publish": func() error { return kinds.Publish(noContext, "Feed", update) },
		"Flush":                func() error { return stream.(dynamic.Flusher).Flush(noContext) },
		"Drain":                func() error { return subscription.Drain(noContext) },
		"Registration.Close":   func() error { return kinds.Close(noContext) },
		"Shutdown":             func() error { return w.server.Shutdown(noContext) },
	} {
		err := call()
		require.ErrorContains(t, err, "the context is nil", name)
		require.ErrorIs(t, err, errors.InvalidArgument, name)
	}

	_, found := dynamic.RequestInfoFromContext(noContext)
	assert.False(t, found)
	ctx := dynamic.ContextWithMetadata(noContext, map[string]string{"key": "value"})
	_, err = client(echo).Call(ctx, request)
	require.NoError(t, err)
	flow, err := w.registry.FindMethod("test.Kinds/Flow")
	require.NoError(t, err)
	require.NoError(t, stream.Send(dynamicpb.NewMessage(flow.Input()), dynamic.WithStreamContext(noContext)))
	require.NoError(t, kinds.Publish(t.Context(), "Feed", dynamicpb.NewMessage(flow.Output())))
	assert.NotNil(t, <-subscription.Channel())
	w.requireWorking(t)
}

// Nil options, hooks and pointers must be ignored.
func TestNilOptions(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	reg := newRegistry(t)
	server := dynamic.NewServer(b, nil, dynamic.ServerOptions(nil), dynamic.ServiceOptions(nil),
		dynamic.Options(nil), dynamic.WithIDGenerator(nil), dynamic.WithRequestEvents(nil), dynamic.WithLogger(nil))
	_, err := server.Register(descriptor(t, reg, "test.Echoes"), dynamic.Handlers{
		"Echo": dynamic.Unary(echoHandler, nil),
	}, nil, dynamic.AllowMissing())
	require.NoError(t, err)
	conn, err := dynamic.NewConn(b, reg, nil, dynamic.ConnOptions(nil), dynamic.ConnOptions(patient...),
		dynamic.WithRequestHooks(nil), dynamic.WithResponseHooks(nil), dynamic.WithPanicHook(nil),
		dynamic.Options(nil), dynamic.WithIDGenerator(nil), dynamic.WithRequestEvents(nil))
	require.NoError(t, err)
	_, err = dynamic.Invoke(t.Context(), conn, echo, nil, nil, dynamic.WithPeer(nil), dynamic.WithFacts(nil), dynamic.WithMetadata(nil))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.NoError(t, server.Shutdown(t.Context()))
	require.NoError(t, b.Close())
}

// A nil registry, a nil handler and a nil bus must each cause an error. A bus that is a nil pointer
// counts as nil.
func TestNilBus(t *testing.T) {
	t.Parallel()
	var local *bus.Local
	reg := newRegistry(t)
	for _, b := range []bus.Bus{nil, local} {
		_, err := dynamic.NewServer(b).Register(descriptor(t, reg, "test.Echoes"), nil, dynamic.AllowMissing())
		requireCode(t, errors.InvalidArgument, err)
		_, err = dynamic.NewConn(b, reg)
		requireCode(t, errors.InvalidArgument, err)
	}
	w := newWorld(t)
	_, err := dynamic.NewConn(w.bus, nil)
	requireCode(t, errors.InvalidArgument, err)
	var service *registry.Service
	for _, descriptor := range []any{nil, service, "no descriptor"} {
		_, err = w.server.Register(descriptor, nil)
		require.Error(t, err)
	}
	_, err = w.server.Register(descriptor(t, reg, "test.Echoes"), dynamic.Handlers{"Echo": nil})
	require.ErrorContains(t, err, "the handler is nil")
}
