package dynamic_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// markCalls returns an interceptor that appends a mark to each request and to each response.
func markCalls(mark string) dynamic.ServerRPCInterceptor {
	return func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, handler dynamic.ServerRPCHandler) (proto.Message, error) {
		response, err := handler(ctx, marked(request, ">"+mark))
		if err != nil {
			return nil, err
		}
		return marked(response, "<"+mark), nil
	}
}

func TestServerRPCInterceptor_Order(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{
		server:   []dynamic.ServerOption{dynamic.WithServerRPCInterceptors(markCalls("a"), markCalls("b")), dynamic.WithServerRPCInterceptors(markCalls("c"))},
		register: []dynamic.ServiceOption{dynamic.WithServerRPCInterceptors(markCalls("d"), markCalls("e"))},
	})
	require.NoError(t, w.service.RegisterTopic("Region", "eu"))
	const want = "hi>a>b>c>d>e<e<d<c<b<a"
	for name, opts := range map[string][]dynamic.RequestOption{seenEcho: nil, seenRegion: {dynamic.WithTopic("eu")}} {
		response, err := w.call(t, name, "hi", opts...)
		require.NoError(t, err, name)
		assert.Equal(t, want, response, name)
	}
	responses, err := textClient(t, w.conn, seenAll).CallMulti(t.Context(), say("hi"))
	require.NoError(t, err)
	assert.Equal(t, want, requireSoon(t, responses, "response").Result.GetValue())
}

// TestServerRPCInterceptor_OneServiceOnly checks that an interceptor passed to Register applies
// only to the registered service.
func TestServerRPCInterceptor_OneServiceOnly(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{register: []dynamic.ServiceOption{dynamic.WithServerRPCInterceptors(markCalls("a"))}})
	w.serve(t, dynamic.Handlers{"Echo": dynamic.Unary(echoHandler)})
	response, err := w.call(t, echo, "hi")
	require.NoError(t, err)
	assert.Equal(t, "hi", response)
}

func TestServerRPCInterceptor_Info(t *testing.T) {
	t.Parallel()
	infos := make(chan dynamic.RPCInfo, 1)
	w := newSeenWorld(t, with{server: []dynamic.ServerOption{dynamic.WithServerRPCInterceptors(func(
		ctx context.Context, request proto.Message, info dynamic.RPCInfo, handler dynamic.ServerRPCHandler,
	) (proto.Message, error) {
		infos <- info
		return handler(ctx, request)
	})}})
	require.NoError(t, w.service.RegisterTopic("Region", "eu"))
	_, err := w.call(t, seenRegion, "hi", dynamic.WithTopic("eu"))
	require.NoError(t, err)
	method, _ := w.registry.Method(seenRegion)
	info := <-infos
	assert.Equal(t, method.FullName(), info.Descriptor.FullName())
	info.Descriptor = nil
	assert.Equal(t, dynamic.RPCInfo{Service: "seen.Through", Method: "Region", Topic: []string{"eu"}}, info)

	responses, err := textClient(t, w.conn, seenAll).CallMulti(t.Context(), say("hi"))
	require.NoError(t, err)
	requireSoon(t, responses, "response")
	assert.True(t, (<-infos).Multi)
}

func TestServerRPCInterceptor_Replaces(t *testing.T) {
	t.Parallel()
	type key struct{}
	handled := func(ctx context.Context, request text) (text, error) {
		switch request.GetValue() {
		case "fail":
			return nil, errors.NewErrorf(errors.NotFound, "not here")
		case "nothing":
			return nil, nil //nolint:nilnil // the test needs a nil response
		}
		value, _ := ctx.Value(key{}).(string)
		return say(request.GetValue() + value), nil
	}
	for _, tt := range []struct {
		name, request string
		intercept     dynamic.ServerRPCInterceptor
		want          string
		code          errors.ErrorCode
		text          string // the text of the error
	}{
		{
			name: "request", request: "hi", want: "hello",
			intercept: func(ctx context.Context, _ proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
				return next(ctx, say("hello"))
			},
		},
		{
			name: "request in place", request: "hi", want: "hello",
			intercept: func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
				request.(text).Value = "hello"
				return next(ctx, request)
			},
		},
		{
			name: "request of another Go type", request: "hi", want: "hi",
			intercept: func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
				return next(ctx, asDynamic(request))
			},
		},
		{
			name: "response of another Go type", request: "hi", want: "hi",
			intercept: func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
				response, err := next(ctx, request)
				return asDynamic(response), err
			},
		},
		{
			name: "context", request: "hi", want: "hi there",
			intercept: func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
				return next(context.WithValue(ctx, key{}, " there"), request)
			},
		},
		{
			name: "a context of its own", request: "hi", want: "hi",
			intercept: func(_ context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
				return next(context.Background(), request)
			},
		},
		{
			name: "error by response", request: "fail", want: "never mind",
			intercept: func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
				if response, err := next(ctx, request); err == nil || response != nil {
					return nil, errors.New("the handler should have failed")
				}
				return say("never mind"), nil
			},
		},
		{
			name: "error by error", request: "fail", code: errors.DataLoss, text: "lost: not here",
			intercept: func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
				_, err := next(ctx, request)
				return nil, errors.NewErrorf(errors.DataLoss, "lost: %w", err)
			},
		},
		{
			name: "response by error without a code", request: "hi", code: errors.Unknown, text: "no",
			intercept: func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
				response, _ := next(ctx, request)
				return response, errors.New("no")
			},
		},
		{
			name: "no call", request: "hi", want: "",
			intercept: func(context.Context, proto.Message, dynamic.RPCInfo, dynamic.ServerRPCHandler) (proto.Message, error) {
				return nil, nil //nolint:nilnil // the test needs a nil response
			},
		},
		{
			name: "two calls", request: "hi", want: "hihi",
			intercept: func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
				first, _ := next(ctx, request)
				second, err := next(ctx, request)
				return marked(first, body(second)), err
			},
		},
		{
			name: "nothing is an empty response", request: "nothing", want: "!",
			intercept: func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
				response, err := next(ctx, request)
				return marked(response, "!"), err
			},
		},
		{
			name: "wrong request", request: "hi", code: errors.Internal,
			text: "request of seen.Through/Echo from an interceptor: wanted message google.protobuf.StringValue, given google.protobuf.Int32Value",
			intercept: func(ctx context.Context, _ proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
				return next(ctx, otherMessage)
			},
		},
		{
			name: "no request", request: "hi", code: errors.Internal, text: "request of seen.Through/Echo from an interceptor: the message is nil",
			intercept: func(ctx context.Context, _ proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
				return next(ctx, nil)
			},
		},
		{
			name: "wrong response", request: "hi", code: errors.Internal,
			text: "response of seen.Through/Echo from an interceptor: wanted message google.protobuf.StringValue, given google.protobuf.Int32Value",
			intercept: func(context.Context, proto.Message, dynamic.RPCInfo, dynamic.ServerRPCHandler) (proto.Message, error) {
				return otherMessage, nil
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newSeenWorld(t, with{
				server:   []dynamic.ServerOption{dynamic.WithServerRPCInterceptors(tt.intercept)},
				handlers: dynamic.Handlers{"Echo": dynamic.Unary(handled)},
			})
			response, err := w.call(t, seenEcho, tt.request)
			if tt.code != "" {
				assert.Equal(t, tt.text, requireCode(t, tt.code, err).Error())
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.want, response)
		})
	}
}

func TestServerRPCInterceptor_Panics(t *testing.T) {
	t.Parallel()
	log := &capturedLog{}
	w := newSeenWorld(t, with{server: []dynamic.ServerOption{
		dynamic.WithLogger(slog.New(log)),
		dynamic.WithServerRPCInterceptors(func(context.Context, proto.Message, dynamic.RPCInfo, dynamic.ServerRPCHandler) (proto.Message, error) {
			panic("secret")
		}),
	}})
	for range 2 {
		_, err := w.call(t, seenEcho, "hi")
		assert.NotContains(t, requireCode(t, errors.Internal, err).Error(), "secret")
	}
	require.Len(t, log.all(), 2)
	assert.Equal(t, "secret", log.all()[0]["panic"])
}

// TestServerRPCInterceptor_Recovers checks that an interceptor can recover from a panic of the
// handler.
func TestServerRPCInterceptor_Recovers(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{
		server: []dynamic.ServerOption{dynamic.WithServerRPCInterceptors(func(
			ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler,
		) (response proto.Message, err error) {
			defer func() { err = errors.NewErrorf(errors.Aborted, "%v", recover()) }()
			return next(ctx, request)
		})},
		handlers: dynamic.Handlers{"Echo": dynamic.Unary(func(context.Context, text) (text, error) { panic("oh") })},
	})
	_, err := w.call(t, seenEcho, "hi")
	assert.Equal(t, "oh", requireCode(t, errors.Aborted, err).Error())
}

// TestServerRPCInterceptor_Unimplemented checks that interceptors also see calls of methods that
// have no handler.
func TestServerRPCInterceptor_Unimplemented(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 1)
	w := newWorldOn(t, newFakeBus(), dynamic.WithServerRPCInterceptors(func(
		ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler,
	) (proto.Message, error) {
		seen <- body(request)
		return next(ctx, request)
	}))
	w.serve(t, dynamic.Handlers{})
	_, err := w.call(t, echo, "hi")
	requireCode(t, errors.Unimplemented, err)
	assert.Equal(t, "hi", <-seen)
}

// TestServerRPCInterceptor_Incoming checks that an interceptor of the server sees the client ID
// and the metadata which an interceptor of the client has added.
func TestServerRPCInterceptor_Incoming(t *testing.T) {
	t.Parallel()
	seen := make(chan dynamic.RequestInfo, 1)
	w := newSeenWorld(t, with{
		server: []dynamic.ServerOption{dynamic.WithServerRPCInterceptors(func(
			ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler,
		) (proto.Message, error) {
			incoming, _ := dynamic.RequestInfoFromContext(ctx)
			seen <- incoming
			return next(ctx, request)
		})},
		conn: []dynamic.ConnOption{dynamic.WithClientID("CLI_seen"), dynamic.WithClientRPCInterceptors(
			func(_ dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
				return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (proto.Message, error) {
					ctx = dynamic.ContextWithMetadata(ctx, map[string]string{"by": "context"})
					return next(ctx, request, append(opts, dynamic.WithMetadata(map[string]string{"and": "option"}))...)
				}
			})},
	})
	before := time.Now()
	_, err := w.call(t, seenEcho, "hi")
	require.NoError(t, err)
	incoming := <-seen
	assert.Equal(t, map[string]string{"by": "context", "and": "option"}, incoming.Metadata)
	assert.Equal(t, "CLI_seen", incoming.ClientID)
	assert.WithinRange(t, incoming.SentAt, before.Add(-time.Millisecond), time.Now())
}
