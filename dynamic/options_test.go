package dynamic_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// TestRegister_MisplacedOptions checks that Register names the options that do not configure a
// single service.
func TestRegister_MisplacedOptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, option := range map[string]dynamic.ServiceOption{
		"WithMaxFrameSize":         dynamic.WithMaxFrameSize(1),
		"WithMaxCompressionRatio":  dynamic.WithMaxCompressionRatio(1),
		"WithDecompressionMemory":  dynamic.WithDecompressionMemory(1),
		"WithCompression":          dynamic.WithCompression(1),
		"WithCompressionThreshold": dynamic.WithCompressionThreshold(1),
		"AllowEmptyTopicParts":     dynamic.AllowEmptyTopicParts(),
		"WithLogger":               dynamic.ServiceOptions(dynamic.Options(dynamic.WithLogger(slog.Default()))),
		"WithIDGenerator":          dynamic.WithIDGenerator(dynamic.NewID),
		"WithKeepalive":            dynamic.WithKeepalive(time.Second),
	} {
		_, err := w.server.Register(descriptor(t, w.registry, "test.Echoes"), nil, dynamic.AllowMissing(), option)
		assert.Equal(t, name+" configures servers and conns, not a single service: pass it to NewServer",
			requireCode(t, errors.InvalidArgument, err).Error())
	}
}

// TestServiceOption_OfServer checks that options of a service can be passed to NewServer, as
// defaults for all services. Only the wire name must be set for each service.
func TestServiceOption_OfServer(t *testing.T) {
	t.Parallel()
	b, reg := bus.NewLocal(), newRegistry(t)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	register := func(option dynamic.ServerOption, handlers dynamic.Handlers) (*dynamic.Server, error) {
		server := dynamic.NewServer(b, option, dynamic.WithLogger(discard))
		t.Cleanup(server.Kill)
		_, err := server.Register(descriptor(t, reg, "test.Echoes"), handlers)
		return server, err
	}
	_, err := register(dynamic.AllowMissing(), nil)
	require.NoError(t, err)
	_, err = register(dynamic.ServiceOptions(dynamic.AllowMissing(), dynamic.RequireAffinity()),
		dynamic.Handlers{"Best": dynamic.Unary(echoHandler)})
	require.ErrorContains(t, err, "no affinity function")
	_, err = register(dynamic.WithWireName("Other"), nil)
	require.ErrorContains(t, err, "WithWireName configures a single service, not a server: pass it to Register")
	require.ErrorIs(t, err, errors.InvalidArgument)

	server, err := register(dynamic.ServiceOptions(dynamic.AllowMissing(), dynamic.ServeWhileDrained()),
		dynamic.Handlers{"Echo": dynamic.Unary(echoHandler)})
	require.NoError(t, err)
	require.NoError(t, server.Drain(t.Context()))
	conn, err := dynamic.NewConn(b, reg, patient...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	_, err = textClient(t, conn, echo).Call(t.Context(), say("hi"))
	require.NoError(t, err)
}

// TestNewConn_MisplacedOptions checks that NewConn names the options that configure a single call.
func TestNewConn_MisplacedOptions(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	var serverID string
	var facts errors.CallFacts
	for name, option := range map[string]dynamic.ConnOption{
		"WithRequestTimeout":    dynamic.WithRequestTimeout(time.Second),
		"WithSelectionOpts":     dynamic.WithSelectionOpts(dynamic.SelectionOpts{}),
		"WithTopic":             dynamic.WithTopic("eu"),
		"WithExpectedResponses": dynamic.WithExpectedResponses(1),
		"WithMetadata":          dynamic.WithMetadata(map[string]string{"key": "value"}),
		"WithPeer":              dynamic.WithPeer(&serverID),
		"WithFacts":             dynamic.ConnOptions(dynamic.WithFacts(&facts)),
	} {
		_, err := dynamic.NewConn(b, newRegistry(t), option)
		assert.Contains(t, requireCode(t, errors.InvalidArgument, err).Error(),
			name+" configures a single call, not a conn: pass it to the call")
	}
}

// TestHandlerOption_WrongKind checks that Register rejects an option for calls on a stream handler,
// and an option for streams on a call handler.
func TestHandlerOption_WrongKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.registry = newRegistry(t, streamSource)
	raw := func(context.Context, *registry.Method, []byte) ([]byte, error) { return nil, nil }
	for text, handlers := range map[string]dynamic.Handlers{
		"WithAffinity is for handlers of calls: use WithStreamAffinity": {
			"Best": dynamic.Stream(echoFlow, dynamic.WithAffinity(func(context.Context, text) float32 { return 1 })),
		},
		"WithMaxConcurrent is for handlers of calls: use WithMaxStreams": {
			"Flow": dynamic.Stream(echoFlow, nil, dynamic.WithMaxConcurrent(1)),
		},
		"WithStreamAffinity is for handlers of streams: use WithAffinity": {
			"Ask": dynamic.Unary(echoHandler, dynamic.WithStreamAffinity(func(context.Context) float32 { return 1 })),
		},
		"WithStreamBuffer and WithStreamWindow configure handlers of streams": {
			"Ask": dynamic.Raw(raw, dynamic.WithStreamWindow(2)),
		},
	} {
		_, err := w.server.Register(descriptor(t, w.registry, "streams.Flows"), handlers, dynamic.AllowMissing())
		require.ErrorContains(t, err, text)
		require.ErrorIs(t, err, errors.InvalidArgument)
	}
}

// TestRequestInterceptors_OfConn checks that the interceptors of single calls can be passed to
// NewConn.
func TestRequestInterceptors_OfConn(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithRequestInterceptors(markClientCalls("a"), markClientCalls("b"))}})
	response, err := w.call(t, seenEcho, "hi")
	require.NoError(t, err)
	assert.Equal(t, "hi>a>b<b<a", response)
}

// noting returns a set with an interceptor of each kind. Each interceptor adds the name of its
// field to steps.
func noting(steps *trail) dynamic.Interceptors {
	stream := func(name string) dynamic.StreamInterceptor {
		return func(_ dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
			steps.add(name)
			return next
		}
	}
	publish := func(name string) dynamic.PublishInterceptor {
		return publishFunc(func(ctx context.Context, update proto.Message, next dynamic.PublishHandler) error {
			steps.add(name)
			return next(ctx, update)
		})
	}
	return dynamic.Interceptors{
		ServerRPC: func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
			steps.add("ServerRPC")
			return next(ctx, request)
		},
		ServerStream:  stream("ServerStream"),
		ServerPublish: publish("ServerPublish"),
		ServerEvents:  func(dynamic.RequestEvent) { steps.add("ServerEvents") },
		ClientRPC: func(_ dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
			steps.add("ClientRPC")
			return next
		},
		ClientMultiRPC: func(_ dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
			steps.add("ClientMultiRPC")
			return next
		},
		ClientStream: stream("ClientStream"),
		Publish:      publish("Publish"),
		Subscription: deliveryFunc(func(ctx context.Context, update proto.Message, next dynamic.DeliveryHandler) error {
			steps.add("Subscription")
			return next(ctx, update)
		}),
		ClientEvents: func(dynamic.RequestEvent) { steps.add("ClientEvents") },
		PanicHook:    func(context.Context, dynamic.Panic) { steps.add("PanicHook") },
	}
}

// exercise makes a call of each kind, and one to a handler that panics.
func (w *seenWorld) exercise(t *testing.T) {
	t.Helper()
	_, err := w.call(t, seenEcho, "hi")
	require.NoError(t, err)
	_, err = textClient(t, w.conn, seenRegion).Topic("eu").Call(t.Context(), say("hi"))
	require.ErrorIs(t, err, errors.Internal)
	responses, err := textClient(t, w.conn, seenAll).CallMulti(t.Context(), say("hi"))
	require.NoError(t, err)
	for range responses { // the call ends, and its channel is closed
	}
	stream, err := textClient(t, w.conn, seenFlow).OpenStream(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Close(nil))
	subscription := w.subscribe(t)
	require.NoError(t, dynamic.Publish(t.Context(), w.conn, seenFeed, say("a")))
	require.NoError(t, w.service.Publish(t.Context(), "Feed", say("b")))
	requireText(t, "a", subscription.Channel())
	requireText(t, "b", subscription.Channel())
}

// TestWithInterceptors checks that one option adds the interceptors of all kinds to a server, a
// service and a conn, that each of them uses those of its side, and that nil fields are skipped.
func TestWithInterceptors(t *testing.T) {
	t.Parallel()
	ofServer := []string{"PanicHook", "ServerEvents", "ServerPublish", "ServerRPC", "ServerStream"}
	ofConn := []string{"ClientEvents", "ClientMultiRPC", "ClientRPC", "ClientStream", "Publish", "Subscription"}
	steps := &trail{}
	set, none := dynamic.WithInterceptors(noting(steps)), dynamic.WithInterceptors(dynamic.Interceptors{})
	for name, tt := range map[string]struct {
		options with
		want    []string
	}{
		"server":  {with{server: []dynamic.ServerOption{set}}, ofServer},
		"service": {with{register: []dynamic.ServiceOption{set}}, ofServer},
		"conn":    {with{conn: []dynamic.ConnOption{set}}, ofConn},
		"none":    {with{server: []dynamic.ServerOption{none}, conn: []dynamic.ConnOption{none}}, nil},
	} {
		steps.steps = nil
		tt.options.handlers = dynamic.Handlers{"Region": dynamic.Unary(func(context.Context, text) (text, error) { panic("no") })}
		w := newSeenWorld(t, tt.options)
		require.NoError(t, w.service.RegisterTopic("Region", "eu"))
		w.exercise(t)
		require.NoError(t, w.conn.Close())
		require.NoError(t, w.server.Shutdown(t.Context()))
		seen := steps.all()
		slices.Sort(seen)
		assert.Equal(t, tt.want, slices.Compact(seen), name)
	}
}
