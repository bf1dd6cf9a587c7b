package dynamic_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// multiFunc returns an interceptor of multi calls. For each call funcsOf returns the functions of
// its handler.
func multiFunc(funcsOf func(next dynamic.ClientMultiRPCHandler) multiFuncs) dynamic.ClientMultiRPCInterceptor {
	return func(_ dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
		funcs := funcsOf(next)
		funcs.ClientMultiRPCHandler = next
		return funcs
	}
}

// markMulti returns an interceptor that appends a mark to requests and responses, and records each
// step.
func markMulti(steps *trail, mark string) dynamic.ClientMultiRPCInterceptor {
	return multiFunc(func(next dynamic.ClientMultiRPCHandler) multiFuncs {
		return multiFuncs{
			send: func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
				steps.add("send " + mark)
				return next.Send(ctx, marked(request, ">"+mark), opts...)
			},
			recv: func(response proto.Message, err error) {
				steps.add("recv " + mark)
				if err == nil {
					response = marked(response, "<"+mark)
				}
				next.Recv(response, err)
			},
			close: func() {
				steps.add("close " + mark)
				next.Close()
			},
		}
	})
}

// answers makes a multi call and returns its sorted responses as "server text" or "server error:
// text".
func (w *seenWorld) answers(t testing.TB, request string, opts ...dynamic.RequestOption) []string {
	t.Helper()
	responses, err := textClient(t, w.conn, seenAll).CallMulti(t.Context(), say(request), opts...)
	require.NoError(t, err)
	var all []string
	for {
		response := requireSoon(t, responses, "response")
		if response == nil {
			slices.Sort(all)
			return all
		}
		answer := response.ServerID + " " + response.Result.GetValue()
		if response.Err != nil {
			answer = response.ServerID + " error: " + response.Err.Error()
		}
		all = append(all, answer)
	}
}

// addServer starts another server on the bus, which serves the method All.
func (w *seenWorld) addServer(t testing.TB, id string, handle func(context.Context, text) (text, error)) {
	t.Helper()
	server := dynamic.NewServer(w.bus, dynamic.WithServerID(id))
	t.Cleanup(server.Kill)
	_, err := server.Register(descriptor(t, w.registry, "seen.Through"), dynamic.Handlers{"All": dynamic.Unary(handle)}, dynamic.AllowMissing())
	require.NoError(t, err)
}

func fails(context.Context, text) (text, error) {
	return nil, errors.NewErrorf(errors.NotFound, "not here")
}

func TestClientMultiRPCInterceptor_Order(t *testing.T) {
	t.Parallel()
	var steps trail
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithClientMultiRPCInterceptors(markMulti(&steps, "a"), markMulti(&steps, "b"))}})
	assert.Equal(t, []string{"SRV_seen hi>a>b>c<c<b<a"}, w.answers(t, "hi", dynamic.WithRequestMultiInterceptors(markMulti(&steps, "c"))))
	assert.Equal(t, []string{
		"send a", "send b", "send c", "recv c", "recv b", "recv a", "close c", "close b", "close a",
	}, steps.all())

	assert.Equal(t, []string{"SRV_seen hi>a>b<b<a"}, w.answers(t, "hi"))
}

// TestClientMultiRPCInterceptor_ServerIDs checks that interceptors keep the server ID of each
// response and error. It also checks the method Responses and what the hooks see.
func TestClientMultiRPCInterceptor_ServerIDs(t *testing.T) {
	t.Parallel()
	var steps, hooked trail
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{
		dynamic.WithClientMultiRPCInterceptors(markMulti(&steps, "a")),
		dynamic.WithRequestHooks(func(_ context.Context, request proto.Message, _ dynamic.RPCInfo) { hooked.add(body(request)) }),
		dynamic.WithResponseHooks(func(_ context.Context, request proto.Message, _ dynamic.RPCInfo, response proto.Message, err error) {
			if err == nil {
				hooked.add(body(request) + " " + body(response))
			}
		}),
	}})
	w.addServer(t, "SRV_bad", fails)
	want := []string{"SRV_bad error: not here", "SRV_seen hi>a<a"}
	assert.Equal(t, want, w.answers(t, "hi"))
	assert.Equal(t, []string{"hi", "hi hi>a<a"}, hooked.all())
	var all []string
	for response := range textClient(t, w.conn, seenAll).Responses(t.Context(), say("hi")) {
		all = append(all, response.ServerID)
	}
	slices.Sort(all)
	assert.Equal(t, []string{"SRV_bad", "SRV_seen"}, all)
}

func TestClientMultiRPCInterceptor_Replaces(t *testing.T) {
	t.Parallel()
	type handler = dynamic.ClientMultiRPCHandler
	attempts := 0
	for _, tt := range []struct {
		name string
		make func(next handler) multiFuncs
		want []string
		code errors.ErrorCode // the code of the error that Send returns
	}{
		{name: "response by error", want: []string{" SRV_bad no"}, make: func(next handler) multiFuncs {
			return multiFuncs{recv: func(proto.Message, error) { next.Recv(say("no"), nil) }}
		}},
		{name: "of other Go types", make: func(next handler) multiFuncs {
			return multiFuncs{
				send: func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
					return next.Send(ctx, asDynamic(request), opts...)
				},
				recv: func(response proto.Message, err error) {
					if err == nil {
						response = asDynamic(response)
					}
					next.Recv(response, err)
				},
			}
		}, want: []string{"SRV_bad error: not here", "SRV_seen hi"}},
		{name: "drops and doubles", make: func(next handler) multiFuncs {
			return multiFuncs{recv: func(response proto.Message, err error) {
				if err == nil {
					next.Recv(response, nil)
					next.Recv(marked(response, "!"), nil)
				}
			}}
		}, want: []string{"SRV_seen hi", "SRV_seen hi!"}},
		{name: "error without a code", make: func(next handler) multiFuncs {
			return multiFuncs{recv: func(response proto.Message, err error) {
				if err == nil {
					err = errors.New("no")
				}
				next.Recv(response, err)
			}}
		}, want: []string{"SRV_bad error: not here", "SRV_seen error: no"}},
		{name: "wrong response", make: func(next handler) multiFuncs {
			return multiFuncs{recv: func(proto.Message, error) { next.Recv(otherMessage, nil) }}
		}, want: slices.Repeat([]string{"error: response of seen.Through/All from an interceptor: wanted message google.protobuf.StringValue, given google.protobuf.Int32Value"}, 2)},
		{name: "no response", make: func(next handler) multiFuncs {
			return multiFuncs{recv: func(proto.Message, error) { next.Recv(nil, nil) }}
		}, want: slices.Repeat([]string{"error: response of seen.Through/All from an interceptor: the message is nil"}, 2)},
		{name: "no request", make: func(next handler) multiFuncs {
			return multiFuncs{send: func(context.Context, proto.Message, ...dynamic.RequestOption) error {
				next.Recv(say("cached"), nil)
				return nil
			}}
		}, want: []string{" cached"}},
		{name: "context and options", make: func(next handler) multiFuncs {
			return multiFuncs{send: func(ctx context.Context, _ proto.Message, opts ...dynamic.RequestOption) error {
				ctx, cancel := context.WithTimeout(dynamic.ContextWithMetadata(ctx, map[string]string{"k": "v"}), time.Hour)
				// The request has been sent when the context is canceled.
				defer cancel()
				return next.Send(ctx, say("metadata"), append(opts, dynamic.WithExpectedResponses(2))...)
			}}
		}, want: []string{"SRV_bad error: not here", "SRV_seen v"}},
		{name: "wrong request", code: errors.Internal, make: func(next handler) multiFuncs {
			return multiFuncs{send: func(ctx context.Context, _ proto.Message, opts ...dynamic.RequestOption) error {
				return next.Send(ctx, otherMessage, opts...)
			}}
		}},
		{name: "refused", code: errors.Unknown, make: func(handler) multiFuncs {
			return multiFuncs{send: func(context.Context, proto.Message, ...dynamic.RequestOption) error { return errors.New("no") }}
		}},
		{name: "refused when it was sent", code: errors.Aborted, make: func(next handler) multiFuncs {
			return multiFuncs{send: func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
				_ = next.Send(ctx, request, opts...)
				return errors.NewErrorf(errors.Aborted, "no")
			}}
		}},
		{name: "sent twice", code: errors.Internal, make: func(next handler) multiFuncs {
			return multiFuncs{send: func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
				_ = next.Send(ctx, request, opts...)
				return next.Send(ctx, request, opts...)
			}}
		}},
		{name: "sent again after an error", want: []string{"SRV_bad error: not here", "SRV_seen hi"}, make: func(next handler) multiFuncs {
			return multiFuncs{send: func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
				attempts++
				if err := next.Send(ctx, otherMessage, opts...); err == nil {
					return errors.New("it should have failed")
				}
				return next.Send(ctx, request, opts...)
			}}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			closed := make(chan struct{}, 10)
			w := newSeenWorld(t, with{
				conn: []dynamic.ConnOption{dynamic.WithClientMultiRPCInterceptors(multiFunc(func(next handler) multiFuncs {
					funcs := tt.make(next)
					funcs.close = func() {
						closed <- struct{}{}
						next.Close()
					}
					return funcs
				}))},
				handlers: dynamic.Handlers{"All": dynamic.Unary(func(ctx context.Context, request text) (text, error) {
					if incoming, _ := dynamic.RequestInfoFromContext(ctx); request.GetValue() == "metadata" {
						return say(incoming.Metadata["k"]), nil
					}
					return request, nil
				})},
			})
			w.addServer(t, "SRV_bad", fails)
			if tt.code != "" {
				_, err := textClient(t, w.conn, seenAll).CallMulti(t.Context(), say("hi"))
				requireCode(t, tt.code, err)
			} else if all := w.answers(t, "hi"); tt.name == "response by error" {
				assert.Equal(t, []string{"SRV_bad no", "SRV_seen no"}, all)
			} else {
				require.Len(t, all, len(tt.want))
				for i, want := range tt.want {
					assert.Contains(t, all[i], want)
				}
			}
			assert.Len(t, closed, 1, "closed once")
		})
	}
}

// TestClientMultiRPCInterceptor_EndsEarly lets an interceptor in the middle end the call after the
// first response. Each interceptor is closed once, and the caller keeps that response.
func TestClientMultiRPCInterceptor_EndsEarly(t *testing.T) {
	t.Parallel()
	var steps trail
	first := multiFunc(func(next dynamic.ClientMultiRPCHandler) multiFuncs {
		return multiFuncs{recv: func(response proto.Message, err error) {
			next.Recv(response, err)
			next.Close()
			next.Recv(say("too late"), nil)
			next.Close()
		}}
	})
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithClientTimeout(time.Hour), dynamic.WithClientMultiRPCInterceptors(
		markMulti(&steps, "a"), first, markMulti(&steps, "b"))}})
	w.addServer(t, "SRV_slow", func(ctx context.Context, _ text) (text, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	assert.Equal(t, []string{"SRV_seen hi>a>b<b<a"}, w.answers(t, "hi"))
	assert.Equal(t, []string{"send a", "send b", "recv b", "recv a", "close a", "close b"}, steps.all())
}

// TestClientMultiRPCInterceptor_FromElsewhere checks that a response which an interceptor passes
// on from another goroutine reaches the caller at once.
func TestClientMultiRPCInterceptor_FromElsewhere(t *testing.T) {
	t.Parallel()
	nexts := make(chan dynamic.ClientMultiRPCHandler, 1)
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithClientTimeout(time.Hour), dynamic.WithClientMultiRPCInterceptors(
		multiFunc(func(next dynamic.ClientMultiRPCHandler) multiFuncs {
			nexts <- next
			return multiFuncs{}
		}))}})
	w.addServer(t, "SRV_slow", func(ctx context.Context, _ text) (text, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	responses, err := textClient(t, w.conn, seenAll).CallMulti(t.Context(), say("hi"))
	require.NoError(t, err)
	assert.Equal(t, "SRV_seen", requireSoon(t, responses, "the first").ServerID)
	next := <-nexts
	next.Recv(say("from elsewhere"), nil)
	response := requireSoon(t, responses, "from elsewhere")
	assert.Equal(t, "from elsewhere", response.Result.GetValue())
	assert.Empty(t, response.ServerID)
	next.Close()
	assert.Nil(t, requireSoon(t, responses, "end"))
	next.Recv(say("too late"), nil)
	requireCode(t, errors.Internal, next.Send(t.Context(), say("too late")))
}

// TestClientMultiRPCInterceptor_Fails checks that if a multi call fails as a whole, its error also
// passes through the interceptors.
func TestClientMultiRPCInterceptor_Fails(t *testing.T) {
	t.Parallel()
	var steps trail
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithClientMultiRPCInterceptors(markMulti(&steps, "a"))}})
	require.NoError(t, w.service.Close(t.Context()))
	all := w.answers(t, "hi")
	require.Len(t, all, 1)
	assert.Contains(t, all[0], " error: no response")
	assert.Equal(t, []string{"send a", "recv a", "close a"}, steps.all())
}

// TestClientMultiRPCInterceptor_CallerLeaves checks that the interceptors are closed if the caller
// stops reading responses.
func TestClientMultiRPCInterceptor_CallerLeaves(t *testing.T) {
	t.Parallel()
	var steps trail
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithClientMultiRPCInterceptors(markMulti(&steps, "a"), markMulti(&steps, "b"))}})
	for range textClient(t, w.conn, seenAll).Responses(t.Context(), say("hi")) {
		break
	}
	assert.Equal(t, []string{"send a", "send b", "recv b", "recv a", "close b", "close a"}, steps.all())
}

func TestClientMultiRPCInterceptor_Panics(t *testing.T) {
	t.Parallel()
	log := &capturedLog{}
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithLogger(slog.New(log))}})
	panics := func(where string) dynamic.RequestOption {
		return dynamic.WithRequestMultiInterceptors(multiFunc(func(next dynamic.ClientMultiRPCHandler) multiFuncs {
			var funcs multiFuncs
			switch where {
			case "send":
				funcs.send = func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
					_ = next.Send(ctx, request, opts...)
					panic(where)
				}
			case "recv":
				funcs.recv = func(proto.Message, error) { panic(where) }
			case "close":
				funcs.close = func() { panic(where) }
			}
			return funcs
		}))
	}
	closed := 0
	closes := dynamic.WithRequestMultiInterceptors(multiFunc(func(next dynamic.ClientMultiRPCHandler) multiFuncs {
		return multiFuncs{close: func() { closed++; next.Close() }}
	}))
	assert.PanicsWithValue(t, "send", func() {
		_, _ = textClient(t, w.conn, seenAll).CallMulti(t.Context(), say("hi"), closes, panics("send"), closes)
	})
	assert.Equal(t, 2, closed, "those outside and inside of it")
	assert.Empty(t, log.all())
	assert.Equal(t, []string{" error: an interceptor of seen.Through/All panicked"}, w.answers(t, "hi", panics("recv")))
	assert.Equal(t, []string{"SRV_seen hi"}, w.answers(t, "hi", panics("close")))
	require.Len(t, log.all(), 2)
	for i, where := range []string{"recv", "close"} {
		assert.Equal(t, where, log.all()[i]["panic"])
	}
}

// TestClientMultiRPCInterceptor_ManyAtOnce checks that each of many concurrent calls has its own
// handler from the interceptor.
func TestClientMultiRPCInterceptor_ManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithClientMultiRPCInterceptors(
		multiFunc(func(next dynamic.ClientMultiRPCHandler) multiFuncs {
			request := "" // the request of this call
			return multiFuncs{
				send: func(ctx context.Context, given proto.Message, opts ...dynamic.RequestOption) error {
					request = body(given)
					return next.Send(ctx, given, opts...)
				},
				recv: func(response proto.Message, err error) { next.Recv(marked(response, " of "+request), err) },
			}
		}))}})
	done := make(chan []string, 50)
	for i := range cap(done) {
		go func() { done <- w.answers(t, fmt.Sprint(i)) }() //nolint:testifylint // the goroutine ends with the call
	}
	for range cap(done) {
		var n, of int
		answer := requireSoon(t, done, "answers")
		require.Len(t, answer, 1)
		_, err := fmt.Sscanf(answer[0], "SRV_seen %d of %d", &n, &of)
		require.NoError(t, err)
		assert.Equal(t, n, of)
	}
}
