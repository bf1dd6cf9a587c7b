package dynamic_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// clientFunc returns an interceptor that calls f, with the next handler as an argument.
func clientFunc(
	f func(ctx context.Context, request proto.Message, next dynamic.ClientRPCHandler, opts ...dynamic.RequestOption) (proto.Message, error),
) dynamic.ClientRPCInterceptor {
	return func(_ dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
		return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (proto.Message, error) {
			return f(ctx, request, next, opts...)
		}
	}
}

// markClientCalls returns an interceptor that appends a mark to each request and to each response.
func markClientCalls(mark string) dynamic.ClientRPCInterceptor {
	return clientFunc(func(ctx context.Context, request proto.Message, next dynamic.ClientRPCHandler, opts ...dynamic.RequestOption) (proto.Message, error) {
		response, err := next(ctx, marked(request, ">"+mark), opts...)
		if err != nil {
			return nil, err
		}
		return marked(response, "<"+mark), nil
	})
}

func TestClientRPCInterceptor_Order(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{
		dynamic.WithClientRPCInterceptors(markClientCalls("a"), markClientCalls("b")), dynamic.WithClientRPCInterceptors(markClientCalls("c")),
	}})
	require.NoError(t, w.service.RegisterTopic("Region", "eu"))
	own := dynamic.WithRequestInterceptors(markClientCalls("d"), markClientCalls("e"))
	const conns, all = "hi>a>b>c<c<b<a", "hi>a>b>c>d>e<e<d<c<b<a"

	response, err := w.call(t, seenEcho, "hi")
	require.NoError(t, err)
	assert.Equal(t, conns, response)
	response, err = w.call(t, seenEcho, "hi", own)
	require.NoError(t, err)
	assert.Equal(t, all, response)

	response, err = w.call(t, seenRegion, "hi", dynamic.WithTopic("eu"), own)
	require.NoError(t, err)
	assert.Equal(t, all, response)
	bound, err := textClient(t, w.conn, seenRegion).Topic("eu").Call(t.Context(), say("hi"))
	require.NoError(t, err)
	assert.Equal(t, conns, bound.GetValue())

	invoked, err := dynamic.Invoke(t.Context(), w.conn, seenEcho, say("hi"), own)
	require.NoError(t, err)
	assert.Equal(t, all, body(invoked))
}

func TestClientRPCInterceptor_OfOneRequest(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{})
	for want, opts := range map[string][]dynamic.RequestOption{
		"hi>a<a": {dynamic.WithRequestInterceptors(markClientCalls("a"))}, "hi": nil,
	} {
		response, err := w.call(t, seenEcho, "hi", opts...)
		require.NoError(t, err)
		assert.Equal(t, want, response)
	}
}

// TestClientRPCInterceptor_MadeOnce checks that interceptors are called once for each client and
// once for each topic, not once for each call.
func TestClientRPCInterceptor_MadeOnce(t *testing.T) {
	t.Parallel()
	var infos []dynamic.RPCInfo
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithClientRPCInterceptors(
		func(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
			infos = append(infos, info)
			return next
		})}})
	require.NoError(t, w.service.RegisterTopic("Region", "eu"))
	client, bound := textClient(t, w.conn, seenEcho), textClient(t, w.conn, seenRegion).Topic("eu")
	for range 3 {
		_, err := client.Call(t.Context(), say("hi"))
		require.NoError(t, err)
		_, err = bound.Call(t.Context(), say("hi"))
		require.NoError(t, err)
	}
	require.Len(t, infos, 2)
	assert.Equal(t, "Echo", infos[0].Method)
	assert.Equal(t, "seen.Through", infos[1].Service)
	assert.Equal(t, []string{"eu"}, infos[1].Topic)
	assert.Equal(t, seenRegion, infos[1].Descriptor.FullName())
}

func TestClientRPCInterceptor_Replaces(t *testing.T) {
	t.Parallel()
	type next = dynamic.ClientRPCHandler
	type options = []dynamic.RequestOption
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name      string
		intercept func(ctx context.Context, request proto.Message, next next, opts ...dynamic.RequestOption) (proto.Message, error)
		want      string
		code      errors.ErrorCode
		text      string // the text of the error
	}{
		{name: "request", want: "hello", intercept: func(ctx context.Context, _ proto.Message, next next, opts ...dynamic.RequestOption) (proto.Message, error) {
			return next(ctx, say("hello"), opts...)
		}},
		{name: "request of another Go type", want: "hi", intercept: func(ctx context.Context, request proto.Message, next next, opts ...dynamic.RequestOption) (proto.Message, error) {
			return next(ctx, asDynamic(request), opts...)
		}},
		{name: "response of another Go type", want: "hi", intercept: func(ctx context.Context, request proto.Message, next next, opts ...dynamic.RequestOption) (proto.Message, error) {
			response, err := next(ctx, request, opts...)
			return asDynamic(response), err
		}},
		{name: "response without a call", want: "cached", intercept: func(context.Context, proto.Message, next, ...dynamic.RequestOption) (proto.Message, error) {
			return say("cached"), nil
		}},
		{name: "error by response", want: "never mind", intercept: func(ctx context.Context, _ proto.Message, next next, opts ...dynamic.RequestOption) (proto.Message, error) {
			if _, err := next(ctx, say("fail"), opts...); err == nil {
				return nil, errors.New("the call should have failed")
			}
			return say("never mind"), nil
		}},
		{name: "error by error", code: errors.DataLoss, text: "lost: not here", intercept: func(ctx context.Context, _ proto.Message, next next, opts ...dynamic.RequestOption) (proto.Message, error) {
			_, err := next(ctx, say("fail"), opts...)
			return nil, errors.NewErrorf(errors.DataLoss, "lost: %w", err)
		}},
		{name: "response by error without a code", code: errors.Unknown, text: "no", intercept: func(ctx context.Context, request proto.Message, next next, opts ...dynamic.RequestOption) (proto.Message, error) {
			response, _ := next(ctx, request, opts...)
			return response, errors.New("no")
		}},
		{name: "context", code: errors.Canceled, text: "request canceled", intercept: func(_ context.Context, request proto.Message, next next, opts ...dynamic.RequestOption) (proto.Message, error) {
			return next(canceled, request, opts...)
		}},
		{name: "topic", want: "hi", intercept: func(ctx context.Context, request proto.Message, next next, opts ...dynamic.RequestOption) (proto.Message, error) {
			return next(ctx, request, append(opts, dynamic.WithTopic("us"))...)
		}},
		{name: "wrong topic", code: errors.InvalidArgument, text: "method seen.Through/Region takes a topic (topic): wanted parts 1, given 2: [\"a\" \"b\"]", intercept: func(ctx context.Context, request proto.Message, next next, opts ...dynamic.RequestOption) (proto.Message, error) {
			return next(ctx, request, append(opts, dynamic.WithTopic("a", "b"))...)
		}},
		{name: "interceptor", want: "hi>z<z", intercept: func(ctx context.Context, request proto.Message, next next, opts ...dynamic.RequestOption) (proto.Message, error) {
			return next(ctx, request, append(options{dynamic.WithRequestInterceptors(markClientCalls("z"))}, opts...)...)
		}},
		{name: "nil interceptor", code: errors.InvalidArgument, text: "WithRequestInterceptors: interceptor 1 is nil", intercept: func(ctx context.Context, request proto.Message, next next, opts ...dynamic.RequestOption) (proto.Message, error) {
			return next(ctx, request, append(options{dynamic.WithRequestInterceptors(nil)}, opts...)...)
		}},
		{name: "wrong request", code: errors.Internal, text: "request of seen.Through/Region from an interceptor: wanted message google.protobuf.StringValue, given google.protobuf.Int32Value", intercept: func(ctx context.Context, _ proto.Message, next next, opts ...dynamic.RequestOption) (proto.Message, error) {
			return next(ctx, otherMessage, opts...)
		}},
		{name: "wrong response", code: errors.Internal, text: "response of seen.Through/Region from an interceptor: wanted message google.protobuf.StringValue, given google.protobuf.Int32Value", intercept: func(context.Context, proto.Message, next, ...dynamic.RequestOption) (proto.Message, error) {
			return otherMessage, nil
		}},
		{name: "no response", code: errors.Internal, text: "response of seen.Through/Region from an interceptor: the message is nil", intercept: func(context.Context, proto.Message, next, ...dynamic.RequestOption) (proto.Message, error) {
			return nil, nil //nolint:nilnil // the test needs a nil response
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newSeenWorld(t, with{
				conn: []dynamic.ConnOption{dynamic.WithClientRPCInterceptors(clientFunc(tt.intercept))},
				handlers: dynamic.Handlers{"Region": dynamic.Unary(func(_ context.Context, request text) (text, error) {
					if request.GetValue() == "fail" {
						return nil, errors.NewErrorf(errors.NotFound, "not here")
					}
					return request, nil
				})},
			})
			topic := "eu"
			if tt.name == "topic" {
				topic = "us"
			}
			require.NoError(t, w.service.RegisterTopic("Region", topic))
			response, err := w.call(t, seenRegion, "hi", dynamic.WithTopic("eu"))
			if tt.code != "" {
				assert.Contains(t, requireCode(t, tt.code, err).Error(), tt.text)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.want, response)
		})
	}
}

// TestClientRPCInterceptor_Retries checks that an interceptor can retry a call, and that each
// attempt sends a request with its own ID.
func TestClientRPCInterceptor_Retries(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newWorldOn(t, b)
	attempts := 0
	w.serve(t, dynamic.Handlers{"Direct": dynamic.Unary(func(_ context.Context, request text) (text, error) {
		if attempts++; attempts < 3 {
			return nil, errors.NewErrorf(errors.Unavailable, "busy")
		}
		return request, nil
	})})
	retry := clientFunc(func(ctx context.Context, request proto.Message, next dynamic.ClientRPCHandler, opts ...dynamic.RequestOption) (response proto.Message, err error) {
		for range 3 {
			if response, err = next(ctx, request, opts...); err == nil {
				break
			}
		}
		return response, err
	})
	response, err := w.call(t, direct, "hi", dynamic.WithRequestInterceptors(retry))
	require.NoError(t, err)
	assert.Equal(t, "hi", response)
	ids := map[string]bool{}
	for _, request := range b.sentRequests(t) {
		ids[string(request.RequestID)] = true
	}
	assert.Len(t, ids, 3)
	assert.Equal(t, wire.KindRequest, b.sentKinds(t)[0])
}

// TestClientRPCInterceptor_Deadline checks that a call ends at the deadline of a context that an
// interceptor has created.
func TestClientRPCInterceptor_Deadline(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{
		conn: []dynamic.ConnOption{dynamic.WithClientRPCInterceptors(clientFunc(
			func(ctx context.Context, request proto.Message, next dynamic.ClientRPCHandler, opts ...dynamic.RequestOption) (proto.Message, error) {
				ctx, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
				defer cancel()
				return next(ctx, request, opts...)
			}))},
		handlers: dynamic.Handlers{"Echo": dynamic.Unary(func(ctx context.Context, _ text) (text, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})},
	})
	_, err := w.call(t, seenEcho, "hi", dynamic.WithTopic())
	requireCode(t, errors.DeadlineExceeded, err)
}

// TestClientRPCInterceptor_Hooks checks that the hooks see the caller's request and the final
// response, once each, even if an interceptor calls next twice.
func TestClientRPCInterceptor_Hooks(t *testing.T) {
	t.Parallel()
	var steps trail
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{
		dynamic.WithClientRPCInterceptors(clientFunc(
			func(ctx context.Context, request proto.Message, next dynamic.ClientRPCHandler, opts ...dynamic.RequestOption) (proto.Message, error) {
				_, _ = next(ctx, request, opts...)
				response, err := next(ctx, marked(request, "!"), opts...)
				return marked(response, "?"), err
			})),
		dynamic.WithRequestHooks(func(_ context.Context, request proto.Message, _ dynamic.RPCInfo) { steps.add(body(request)) }),
		dynamic.WithResponseHooks(func(_ context.Context, request proto.Message, _ dynamic.RPCInfo, response proto.Message, _ error) {
			steps.add(body(request) + " " + body(response))
		}),
	}})
	_, err := w.call(t, seenEcho, "hi")
	require.NoError(t, err)
	assert.Equal(t, []string{"hi", "hi hi!?"}, steps.all())
}

// TestClientRPCInterceptor_Panics checks that a panic in an interceptor reaches the caller, and
// that the conn still works afterwards.
func TestClientRPCInterceptor_Panics(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{})
	before := clientFunc(func(context.Context, proto.Message, dynamic.ClientRPCHandler, ...dynamic.RequestOption) (proto.Message, error) {
		panic("before")
	})
	after := clientFunc(func(ctx context.Context, request proto.Message, next dynamic.ClientRPCHandler, opts ...dynamic.RequestOption) (proto.Message, error) {
		_, _ = next(ctx, request, opts...)
		panic("after")
	})
	assert.PanicsWithValue(t, "before", func() { _, _ = w.call(t, seenEcho, "hi", dynamic.WithRequestInterceptors(before)) })
	assert.PanicsWithValue(t, "after", func() { _, _ = w.call(t, seenEcho, "hi", dynamic.WithRequestInterceptors(after)) })
	response, err := w.call(t, seenEcho, "hi")
	require.NoError(t, err)
	assert.Equal(t, "hi", response)
}

// TestClientRPCInterceptor_DynamicClient checks that the response has the client's Go type, even
// if the interceptor returns another one.
func TestClientRPCInterceptor_DynamicClient(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithClientRPCInterceptors(markless)}})
	client, err := dynamic.NewClient[*dynamicpb.Message, *dynamicpb.Message](w.conn, seenEcho)
	require.NoError(t, err)
	response, err := client.Call(t.Context(), asDynamic(say("hi")).(*dynamicpb.Message))
	require.NoError(t, err)
	assert.True(t, proto.Equal(asDynamic(say("cached")), response))
}

func markless(dynamic.RPCInfo, dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
	return func(context.Context, proto.Message, ...dynamic.RequestOption) (proto.Message, error) {
		return say("cached"), nil
	}
}

// TestInterceptors_Nil checks that each option rejects a nil interceptor.
func TestInterceptors_Nil(t *testing.T) {
	t.Parallel()
	b, reg := bus.NewLocal(), newRegistry(t, interceptedSource)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	for name, option := range map[string]dynamic.ConnOption{
		"WithClientRPCInterceptors":      dynamic.WithClientRPCInterceptors(markless, nil),
		"WithClientMultiRPCInterceptors": dynamic.WithClientMultiRPCInterceptors(passMulti, nil),
		"WithClientStreamInterceptors":   dynamic.WithClientStreamInterceptors(passStream, nil),
		"WithSubscriptionInterceptors":   dynamic.WithSubscriptionInterceptors(passDelivery, nil),
		"WithPublishInterceptors":        dynamic.WithPublishInterceptors(passPublish, nil),
	} {
		_, err := dynamic.NewConn(b, reg, option)
		assert.Equal(t, name+": interceptor 2 is nil", requireCode(t, errors.InvalidArgument, err).Error())
	}
	for name, option := range map[string]dynamic.ServiceOption{
		"WithServerRPCInterceptors":     dynamic.WithServerRPCInterceptors(nil),
		"WithServerStreamInterceptors":  dynamic.WithServerStreamInterceptors(nil),
		"WithServerPublishInterceptors": dynamic.WithServerPublishInterceptors(nil),
	} {
		service := descriptor(t, reg, "seen.Through")
		for _, server := range []*dynamic.Server{dynamic.NewServer(b, option), dynamic.NewServer(b)} {
			_, err := server.Register(service, nil, option, dynamic.AllowMissing())
			assert.Equal(t, name+": interceptor 1 is nil", requireCode(t, errors.InvalidArgument, err).Error())
			server.Kill()
		}
	}
	conn, err := dynamic.NewConn(b, reg, patientConn)
	require.NoError(t, err)
	defer conn.Close()
	_, err = textClient(t, conn, seenEcho).Call(t.Context(), say("hi"), dynamic.WithRequestInterceptors(nil))
	assert.Equal(t, "WithRequestInterceptors: interceptor 1 is nil", requireCode(t, errors.InvalidArgument, err).Error())
	_, err = textClient(t, conn, seenAll).CallMulti(t.Context(), say("hi"), dynamic.WithRequestMultiInterceptors(nil))
	assert.Equal(t, "WithRequestMultiInterceptors: interceptor 1 is nil", requireCode(t, errors.InvalidArgument, err).Error())
	_, err = textClient(t, conn, seenFlow).OpenStream(t.Context(), dynamic.WithRequestStreamInterceptors(nil))
	assert.Equal(t, "WithRequestStreamInterceptors: interceptor 1 is nil", requireCode(t, errors.InvalidArgument, err).Error())
}

func passMulti(_ dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
	return next
}
func passStream(_ dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler { return next }
func passDelivery(_ dynamic.RPCInfo, next dynamic.DeliveryHandler) dynamic.DeliveryHandler {
	return next
}
func passPublish(_ dynamic.RPCInfo, next dynamic.PublishHandler) dynamic.PublishHandler { return next }

func TestInterceptors_NoHandler(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{
		conn: []dynamic.ConnOption{
			dynamic.WithClientRPCInterceptors(markClientCalls("a"), func(dynamic.RPCInfo, dynamic.ClientRPCHandler) dynamic.ClientRPCHandler { return nil }),
			dynamic.WithClientMultiRPCInterceptors(func(dynamic.RPCInfo, dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler { return nil }),
			dynamic.WithClientStreamInterceptors(func(dynamic.RPCInfo, dynamic.StreamHandler) dynamic.StreamHandler { return nil }),
			dynamic.WithPublishInterceptors(func(dynamic.RPCInfo, dynamic.PublishHandler) dynamic.PublishHandler { return nil }),
			dynamic.WithSubscriptionInterceptors(func(dynamic.RPCInfo, dynamic.DeliveryHandler) dynamic.DeliveryHandler { return nil }),
		},
		server: []dynamic.ServerOption{
			dynamic.WithServerStreamInterceptors(func(dynamic.RPCInfo, dynamic.StreamHandler) dynamic.StreamHandler { return nil }),
		},
	})
	_, err := dynamic.NewClient[text, text](w.conn, seenEcho)
	assert.Equal(t, "an interceptor of seen.Through/Echo returned no handler", requireCode(t, errors.Internal, err).Error())
	_, err = textClient(t, w.conn, seenAll).CallMulti(t.Context(), say("hi"))
	assert.Equal(t, "an interceptor of seen.Through/All returned no handler", requireCode(t, errors.Internal, err).Error())
	_, err = textClient(t, w.conn, seenFlow).OpenStream(t.Context())
	assert.Equal(t, "an interceptor of seen.Through/Flow returned no handler", requireCode(t, errors.Internal, err).Error())
	_, err = textClient(t, w.conn, seenFeed).Subscribe(t.Context())
	assert.Equal(t, "an interceptor of seen.Through/Feed returned no handler", requireCode(t, errors.Internal, err).Error())
	err = dynamic.Publish(t.Context(), w.conn, seenFeed, say("hi"))
	assert.Equal(t, "an interceptor of seen.Through/Feed returned no handler", requireCode(t, errors.Internal, err).Error())

	plain, err := dynamic.NewConn(w.bus, w.registry, patientConn)
	require.NoError(t, err)
	defer plain.Close()
	_, err = textClient(t, plain, seenFlow).OpenStream(t.Context())
	assert.Equal(t, "an interceptor of seen.Through/Flow returned no handler", requireCode(t, errors.Internal, err).Error())
}
