package dynamic_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// hooked receives the panics that are reported to a hook.
type hooked chan dynamic.Panic

func (h hooked) hook(ctx context.Context, p dynamic.Panic) {
	if ctx != nil {
		h <- p
	}
}

func (h hooked) requireOne(t testing.TB, method, value string) {
	t.Helper()
	p := requireSoon(t, h, "panic")
	assert.Equal(t, method, p.Method.FullName())
	assert.Equal(t, value, p.Value)
	assert.Contains(t, string(p.Stack), "goroutine ")
	assert.Empty(t, h, "told once")
}

func TestWithPanicHook_Handlers(t *testing.T) {
	t.Parallel()
	ofServer, ofService := make(hooked, 10), make(hooked, 10)
	w := newSeenWorld(t, with{
		server:   []dynamic.ServerOption{dynamic.WithPanicHook(ofServer.hook), dynamic.WithPanicHook(nil)},
		register: []dynamic.ServiceOption{dynamic.WithPanicHook(ofService.hook)},
		handlers: dynamic.Handlers{
			"Echo": dynamic.Unary(func(context.Context, text) (text, error) { panic("echo") }),
			"Flow": dynamic.Stream(func(serverText) error { panic("flow") }),
		},
	})
	_, err := w.call(t, seenEcho, "hi")
	requireCode(t, errors.Internal, err)
	ofServer.requireOne(t, seenEcho, "echo")
	ofService.requireOne(t, seenEcho, "echo")

	requireCode(t, errors.Internal, requireEnd(t, w.openFlow(t)))
	ofServer.requireOne(t, seenFlow, "flow")
	ofService.requireOne(t, seenFlow, "flow")
}

// TestWithPanicHook_Interceptors checks that the hook is called for panics in interceptors that run
// on the library's own goroutines.
func TestWithPanicHook_Interceptors(t *testing.T) {
	t.Parallel()
	reported := make(hooked, 10)
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{
		dynamic.WithPanicHook(reported.hook),
		dynamic.WithClientMultiRPCInterceptors(multiFunc(func(dynamic.ClientMultiRPCHandler) multiFuncs {
			return multiFuncs{recv: func(proto.Message, error) { panic("multi") }}
		})),
		dynamic.WithClientStreamInterceptors(streamFunc(func(dynamic.StreamHandler) streamFuncs {
			return streamFuncs{recv: func(proto.Message) error { panic("stream") }}
		})),
		dynamic.WithSubscriptionInterceptors(func(dynamic.RPCInfo, dynamic.DeliveryHandler) dynamic.DeliveryHandler {
			return func(context.Context, proto.Message) error { panic("update") }
		}),
	}})
	w.answers(t, "hi")
	reported.requireOne(t, seenAll, "multi")

	stream := w.openFlow(t)
	_ = stream.Send(say("hi"))
	requireCode(t, errors.Internal, requireEnd(t, stream))
	reported.requireOne(t, seenFlow, "stream")

	w.subscribe(t)
	require.NoError(t, w.service.Publish(t.Context(), "Feed", say("hi")))
	reported.requireOne(t, seenFeed, "update")
}

// TestWithPanicHook_Panics checks that the server survives a hook that panics, and that the other
// hooks are still called.
func TestWithPanicHook_Panics(t *testing.T) {
	t.Parallel()
	log, reported := &capturedLog{}, make(hooked, 10)
	w := newSeenWorld(t, with{
		server: []dynamic.ServerOption{
			dynamic.WithLogger(slog.New(log)),
			dynamic.WithPanicHook(func(context.Context, dynamic.Panic) { panic("hook") }), dynamic.WithPanicHook(reported.hook),
		},
		handlers: dynamic.Handlers{"Echo": dynamic.Unary(func(context.Context, text) (text, error) { panic("echo") })},
	})
	_, err := w.call(t, seenEcho, "hi")
	requireCode(t, errors.Internal, err)
	reported.requireOne(t, seenEcho, "echo")
	require.Len(t, log.all(), 2)
	assert.Equal(t, "echo", log.all()[0]["panic"])
	assert.Equal(t, "hook", log.all()[1]["panic"])
}

// TestStreamInterceptor_ClosedIfOthersFail checks that the handler of a stream interceptor is
// closed if another interceptor of the stream panics or returns no handler.
func TestStreamInterceptor_ClosedIfOthersFail(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() dynamic.StreamHandler{
		"no handler": func() dynamic.StreamHandler { return nil },
		"panic":      func() dynamic.StreamHandler { panic("oh") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var steps trail
			w := newSeenWorld(t, with{server: []dynamic.ServerOption{dynamic.WithServerStreamInterceptors(markStream(&steps, "a"),
				func(dynamic.RPCInfo, dynamic.StreamHandler) dynamic.StreamHandler { return fail() }, markStream(&steps, "b"))}})
			_, err := textClient(t, w.conn, seenFlow).OpenStream(t.Context())
			requireCode(t, errors.Internal, err)
			require.NoError(t, w.service.Close(t.Context()))
			assert.Equal(t, []string{"close a"}, steps.all())
		})
	}
}
