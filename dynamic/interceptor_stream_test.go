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

// streamFunc returns an interceptor of streams. For each stream funcsOf returns the functions of
// its handler.
func streamFunc(funcsOf func(next dynamic.StreamHandler) streamFuncs) dynamic.StreamInterceptor {
	return func(_ dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
		funcs := funcsOf(next)
		funcs.StreamHandler = next
		return funcs
	}
}

// markStream returns an interceptor that appends a mark to messages in both directions and records
// each Close.
func markStream(steps *trail, mark string) dynamic.StreamInterceptor {
	return streamFunc(func(next dynamic.StreamHandler) streamFuncs {
		return streamFuncs{
			recv: func(message proto.Message) error { return next.Recv(marked(message, "<"+mark)) },
			send: func(message proto.Message, opts ...dynamic.StreamOption) error {
				return next.Send(marked(message, ">"+mark), opts...)
			},
			close: func(cause error) error {
				steps.add("close " + mark)
				return next.Close(cause)
			},
		}
	})
}

func (w *seenWorld) openFlow(t testing.TB, opts ...dynamic.RequestOption) clientText {
	t.Helper()
	stream, err := textClient(t, w.conn, seenFlow).OpenStream(t.Context(), opts...)
	require.NoError(t, err)
	return stream
}

// requireEnd waits until a stream and its interceptors are closed, and returns the error of the
// stream.
func requireEnd(t testing.TB, stream clientText) error {
	t.Helper()
	requireClosed(t, stream.Channel())
	return stream.Err()
}

func TestStreamInterceptor_Order(t *testing.T) {
	t.Parallel()
	var ofClient, ofServer trail
	w := newSeenWorld(t, with{
		conn:     []dynamic.ConnOption{dynamic.WithClientStreamInterceptors(markStream(&ofClient, "a"), markStream(&ofClient, "b"))},
		server:   []dynamic.ServerOption{dynamic.WithServerStreamInterceptors(markStream(&ofServer, "d"))},
		register: []dynamic.ServiceOption{dynamic.WithServerStreamInterceptors(markStream(&ofServer, "e"))},
	})
	stream := w.openFlow(t, dynamic.WithRequestStreamInterceptors(markStream(&ofClient, "c")))
	require.NoError(t, stream.Send(say("hi")))
	requireText(t, "hi>a>b>c<d<e>e>d<c<b<a", stream.Channel())
	require.NoError(t, stream.Close(nil))
	assert.Equal(t, []string{"close a", "close b", "close c"}, ofClient.all())
	require.NoError(t, w.service.Close(t.Context()))
	assert.Equal(t, []string{"close e", "close d"}, ofServer.all())

	require.ErrorIs(t, stream.Close(nil), errors.ErrStreamClosed)
	require.ErrorIs(t, stream.Send(say("hi")), errors.ErrStreamClosed)
	assert.Len(t, ofClient.all(), 3, "closed once")
}

func TestStreamInterceptor_Invoked(t *testing.T) {
	t.Parallel()
	var steps trail
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithClientStreamInterceptors(markStream(&steps, "a"))}})
	stream, err := dynamic.InvokeStream(t.Context(), w.conn, seenFlow)
	require.NoError(t, err)
	require.NoError(t, stream.Send(say("hi")))
	assert.Equal(t, "hi>a<a", body(requireSoon(t, stream.Channel(), "message")))
	require.NoError(t, stream.Close(nil))
	assert.Equal(t, []string{"close a"}, steps.all())
}

// TestStreamInterceptor_ClosesOnce closes a stream in several ways. Each interceptor on both sides
// must be closed once, with the error that closed the stream.
func TestStreamInterceptor_ClosesOnce(t *testing.T) {
	t.Parallel()
	gone := errors.NewErrorf(errors.Aborted, "gone")
	for _, tt := range []struct {
		name           string
		end            func(w *seenWorld, stream clientText, cancel func(), server serverText)
		client, server string // the error with which each side is closed
	}{
		{"client", func(_ *seenWorld, stream clientText, _ func(), _ serverText) { _ = stream.Close(gone) }, "gone", "gone"},
		{"server", func(_ *seenWorld, _ clientText, _ func(), server serverText) { _ = server.Close(gone) }, "gone", "gone"},
		{"context", func(_ *seenWorld, _ clientText, cancel func(), _ serverText) { cancel() }, "context canceled", "context canceled"},
		{"conn", func(w *seenWorld, _ clientText, _ func(), _ serverText) { _ = w.conn.Close() }, "stream closed", "stream closed"},
		{"shutdown", func(w *seenWorld, _ clientText, _ func(), _ serverText) {
			_ = w.server.Shutdown(context.Background())
		}, "EOF", "EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			closes := make(chan string, 100)
			note := func(side string) dynamic.StreamInterceptor {
				return streamFunc(func(next dynamic.StreamHandler) streamFuncs {
					return streamFuncs{close: func(cause error) error {
						closes <- side
						want := map[string]string{"client": tt.client, "server": tt.server}[side]
						assert.EqualError(t, cause, want)
						return next.Close(cause)
					}}
				})
			}
			streams := make(chan serverText, 1)
			w := newSeenWorld(t, with{
				conn:   []dynamic.ConnOption{dynamic.WithClientStreamInterceptors(note("client"), note("client"))},
				server: []dynamic.ServerOption{dynamic.WithServerStreamInterceptors(note("server"), note("server"))},
				handlers: dynamic.Handlers{"Flow": dynamic.Stream(func(stream serverText) error {
					streams <- stream
					return idle(stream)
				})},
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stream, err := textClient(t, w.conn, seenFlow).OpenStream(ctx)
			require.NoError(t, err)
			server := requireSoon(t, streams, "stream")
			tt.end(w, stream, cancel, server)
			require.Error(t, requireEnd(t, stream))
			// The client's stream ends before the client sends its close frame. Wait for that
			// frame, because otherwise Shutdown might close the stream on the server first.
			requireSoon(t, server.Context().Done(), "close")
			// Shutdown waits until the interceptors on the server have been closed.
			require.NoError(t, w.server.Shutdown(context.Background()))
			close(closes)
			counts := map[string]int{}
			for side := range closes {
				counts[side]++
			}
			assert.Equal(t, map[string]int{"client": 2, "server": 2}, counts)
		})
	}
}

// TestStreamInterceptor_ContextOfClosed checks that if the other side closes a stream, the stream's
// context ends before the Close methods of the interceptors are called.
func TestStreamInterceptor_ContextOfClosed(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 100)
	w := newSeenWorld(t, with{
		server: []dynamic.ServerOption{dynamic.WithServerStreamInterceptors(streamFunc(func(next dynamic.StreamHandler) streamFuncs {
			return streamFuncs{close: func(cause error) error {
				ended <- dynamic.StreamContext(next).Err()
				return next.Close(cause)
			}}
		}))},
		handlers: dynamic.Handlers{"Flow": dynamic.Stream(func(stream serverText) error {
			for range stream.Channel() {
			}
			return nil
		})},
	})
	for range cap(ended) {
		require.NoError(t, w.openFlow(t).Close(nil))
	}
	for range cap(ended) {
		assert.Error(t, requireSoon(t, ended, "close"))
	}
}

// TestStreamInterceptor_Replaces checks that interceptors of a client or a server can replace,
// repeat, drop and refuse messages.
func TestStreamInterceptor_Replaces(t *testing.T) {
	t.Parallel()
	type handler = dynamic.StreamHandler
	for _, tt := range []struct {
		name   string
		make   func(next handler) streamFuncs
		client bool // true for an interceptor of the client, false for one of the server
		want   []string
		code   errors.ErrorCode // the code of the error that Send returns
	}{
		{name: "of other Go types", client: true, want: []string{"hi"}, make: func(next handler) streamFuncs {
			return streamFuncs{
				recv: func(message proto.Message) error { return next.Recv(asDynamic(message)) },
				send: func(message proto.Message, opts ...dynamic.StreamOption) error {
					return next.Send(asDynamic(message), opts...)
				},
			}
		}},
		{name: "doubles what comes", client: true, want: []string{"hi", "hi!"}, make: func(next handler) streamFuncs {
			return streamFuncs{recv: func(message proto.Message) error {
				_ = next.Recv(message)
				return next.Recv(marked(message, "!"))
			}}
		}},
		{name: "doubles what is sent", client: true, want: []string{"hi", "hi!"}, make: func(next handler) streamFuncs {
			return streamFuncs{send: func(message proto.Message, opts ...dynamic.StreamOption) error {
				_ = next.Send(message, opts...)
				return next.Send(marked(message, "!"), opts...)
			}}
		}},
		{name: "answers itself", client: true, want: []string{"myself"}, make: func(next handler) streamFuncs {
			return streamFuncs{send: func(proto.Message, ...dynamic.StreamOption) error { return next.Recv(say("myself")) }}
		}},
		{name: "drops what comes", want: nil, make: func(handler) streamFuncs {
			// The message is acknowledged although the interceptor drops it.
			return streamFuncs{recv: func(proto.Message) error { return nil }}
		}},
		{name: "refuses what is sent", client: true, code: errors.ResourceExhausted, make: func(handler) streamFuncs {
			return streamFuncs{send: func(proto.Message, ...dynamic.StreamOption) error {
				return errors.NewErrorf(errors.ResourceExhausted, "enough")
			}}
		}},
		{name: "error by success", client: true, want: nil, make: func(next handler) streamFuncs {
			return streamFuncs{send: func(proto.Message, ...dynamic.StreamOption) error {
				if err := next.Send(nil); err == nil {
					return errors.New("it should have failed")
				}
				return nil
			}}
		}},
		{name: "wrong message sent", client: true, code: errors.Internal, make: func(next handler) streamFuncs {
			return streamFuncs{send: func(_ proto.Message, opts ...dynamic.StreamOption) error { return next.Send(otherMessage, opts...) }}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			options := with{}
			if intercept := streamFunc(tt.make); tt.client {
				options.conn = []dynamic.ConnOption{dynamic.WithClientStreamInterceptors(intercept)}
			} else {
				options.server = []dynamic.ServerOption{dynamic.WithServerStreamInterceptors(intercept)}
			}
			w := newSeenWorld(t, options)
			stream := w.openFlow(t)
			err := stream.Send(say("hi"))
			if tt.code != "" {
				requireCode(t, tt.code, err)
			} else {
				require.NoError(t, err)
			}
			for _, want := range tt.want {
				requireText(t, want, stream.Channel())
			}
			require.NoError(t, stream.Close(nil))
			assert.Zero(t, requireClosed(t, stream.Channel()))
		})
	}
}

// TestStreamInterceptor_Refuses checks that a stream is closed on both sides if an interceptor's
// Recv method returns an error. Both sides see that error.
func TestStreamInterceptor_Refuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		recv func(next dynamic.StreamHandler) func(message proto.Message) error
		code errors.ErrorCode
		text string
	}{
		{"error", func(dynamic.StreamHandler) func(proto.Message) error {
			return func(proto.Message) error { return errors.NewErrorf(errors.PermissionDenied, "not you") }
		}, errors.PermissionDenied, "not you"},
		{"error without a code", func(dynamic.StreamHandler) func(proto.Message) error {
			return func(proto.Message) error { return errors.New("not you") }
		}, errors.Unknown, "not you"},
		{"wrong message", func(next dynamic.StreamHandler) func(proto.Message) error {
			return func(proto.Message) error { return next.Recv(otherMessage) }
		}, errors.Internal, "message of seen.Through/Flow from an interceptor: wanted message google.protobuf.StringValue, given google.protobuf.Int32Value"},
		{"panic", func(dynamic.StreamHandler) func(proto.Message) error {
			return func(proto.Message) error { panic("secret") }
		}, errors.Internal, "an interceptor of seen.Through/Flow panicked"},
		{"close of next", func(next dynamic.StreamHandler) func(proto.Message) error {
			return func(proto.Message) error {
				return next.Close(errors.NewErrorf(errors.PermissionDenied, "not you"))
			}
		}, errors.PermissionDenied, "not you"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			log := &capturedLog{}
			closes := make(chan error, 10)
			note := streamFunc(func(next dynamic.StreamHandler) streamFuncs {
				return streamFuncs{close: func(cause error) error {
					closes <- cause
					return next.Close(cause)
				}}
			})
			refuse := streamFunc(func(next dynamic.StreamHandler) streamFuncs { return streamFuncs{recv: tt.recv(next)} })
			handled := make(chan error, 1)
			w := newSeenWorld(t, with{
				server: []dynamic.ServerOption{dynamic.WithLogger(slog.New(log)), dynamic.WithServerStreamInterceptors(note, refuse, note)},
				handlers: dynamic.Handlers{"Flow": dynamic.Stream(func(stream serverText) error {
					for range stream.Channel() {
						t.Error("a refused message was delivered")
					}
					handled <- stream.Err()
					return nil
				})},
			})
			stream := w.openFlow(t)
			// In the case "close of next" Recv does not refuse the message, so Send may succeed.
			if err := stream.Send(say("hi")); tt.name != "close of next" {
				requireCode(t, tt.code, err)
			}
			assert.Equal(t, tt.text, requireCode(t, tt.code, requireEnd(t, stream)).Error())
			assert.Equal(t, tt.text, requireCode(t, tt.code, requireSoon(t, handled, "handler")).Error())
			require.NoError(t, w.service.Close(t.Context()))
			require.Len(t, closes, 2, "each of the others once")
			assert.Equal(t, tt.text, (<-closes).Error())
			if tt.name == "panic" {
				require.Len(t, log.all(), 1)
				assert.Equal(t, "secret", log.all()[0]["panic"])
			}
		})
	}
}

// TestStreamInterceptor_RefusesStream checks that a stream does not open if an interceptor closes
// it at once.
func TestStreamInterceptor_RefusesStream(t *testing.T) {
	t.Parallel()
	var steps trail
	admit := func(_ dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
		if incoming, _ := dynamic.RequestInfoFromContext(dynamic.StreamContext(next)); incoming.Metadata["key"] != "good" {
			_ = next.Close(errors.NewErrorf(errors.Unauthenticated, "no key"))
		}
		return next
	}
	w := newSeenWorld(t, with{server: []dynamic.ServerOption{
		dynamic.WithServerStreamInterceptors(markStream(&steps, "a"), admit, markStream(&steps, "b")),
	}})
	client := textClient(t, w.conn, seenFlow)
	_, err := client.OpenStream(t.Context())
	assert.Equal(t, "no key", requireCode(t, errors.Unauthenticated, err).Error())
	assert.ElementsMatch(t, []string{"close a", "close b"}, steps.all())

	stream, err := client.OpenStream(t.Context(), dynamic.WithMetadata(map[string]string{"key": "good"}))
	require.NoError(t, err)
	require.NoError(t, stream.Close(nil))

	ofClient := dynamic.WithRequestStreamInterceptors(func(_ dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
		type key struct{}
		assert.Nil(t, dynamic.StreamContext(next).Value(key{}))
		assert.Equal(t, t.Context().Done(), dynamic.StreamContext(next).Done())
		_ = next.Close(nil)
		return next
	})
	_, err = client.OpenStream(t.Context(), ofClient)
	require.ErrorIs(t, err, errors.ErrStreamClosed)
	assert.Equal(t, context.Background(), dynamic.StreamContext(nil))
}

// TestStreamInterceptor_NotOpened checks that the interceptors of a client learn why a stream
// could not be opened.
func TestStreamInterceptor_NotOpened(t *testing.T) {
	t.Parallel()
	causes := make(chan error, 2)
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithClientStreamInterceptors(
		streamFunc(func(next dynamic.StreamHandler) streamFuncs {
			requireCode(t, errors.Internal, next.Send(say("too early")))
			requireCode(t, errors.Internal, next.Recv(say("too early")))
			return streamFuncs{close: func(cause error) error {
				causes <- cause
				return next.Close(cause)
			}}
		}))}})
	require.NoError(t, w.service.Close(t.Context()))
	_, err := textClient(t, w.conn, seenFlow).OpenStream(t.Context())
	require.ErrorIs(t, err, errors.ErrNoResponse)
	assert.Equal(t, err, <-causes)
	assert.Empty(t, causes)
}

// TestStreamInterceptor_CannotKeepOpen checks that a stream closes even if an interceptor ignores
// the Close. An interceptor can replace the error that the other side receives.
func TestStreamInterceptor_CannotKeepOpen(t *testing.T) {
	t.Parallel()
	returns := make(chan error, 1)
	w := newSeenWorld(t, with{
		conn: []dynamic.ConnOption{dynamic.WithClientStreamInterceptors(streamFunc(func(dynamic.StreamHandler) streamFuncs {
			return streamFuncs{close: func(error) error { return nil }}
		}))},
		server: []dynamic.ServerOption{dynamic.WithServerStreamInterceptors(streamFunc(func(next dynamic.StreamHandler) streamFuncs {
			return streamFuncs{close: func(cause error) error {
				return next.Close(errors.NewErrorf(errors.DataLoss, "hidden: %w", cause))
			}}
		}))},
		handlers: dynamic.Handlers{"Flow": dynamic.Stream(func(stream serverText) error {
			select {
			case err := <-returns:
				return err
			case <-stream.Context().Done():
				return nil
			}
		})},
	})
	stream := w.openFlow(t)
	require.NoError(t, stream.Close(errors.NewErrorf(errors.Aborted, "enough")))
	requireCode(t, errors.Aborted, requireEnd(t, stream))

	stream = w.openFlow(t)
	returns <- errors.New("secret")
	assert.Equal(t, "hidden: secret", requireCode(t, errors.DataLoss, requireEnd(t, stream)).Error())
}

// TestStreamInterceptor_Panics checks that a panic in Send or Close reaches the caller of that
// method. A panic in another goroutine is logged and closes the stream.
func TestStreamInterceptor_Panics(t *testing.T) {
	t.Parallel()
	log := &capturedLog{}
	w := newSeenWorld(t, with{
		conn: []dynamic.ConnOption{dynamic.WithLogger(slog.New(log))},
		server: []dynamic.ServerOption{dynamic.WithLogger(slog.New(log)), dynamic.WithServerStreamInterceptors(func(
			_ dynamic.RPCInfo, next dynamic.StreamHandler,
		) dynamic.StreamHandler {
			incoming, _ := dynamic.RequestInfoFromContext(dynamic.StreamContext(next))
			if incoming.Metadata["panic"] == "open" {
				panic("secret")
			}
			return streamFuncs{StreamHandler: next, close: func(cause error) error {
				if incoming.Metadata["panic"] == "close" {
					panic("secret")
				}
				return next.Close(cause)
			}}
		})},
		handlers: dynamic.Handlers{"Flow": dynamic.Stream(func(serverText) error { return nil })},
	})
	for i, where := range []string{"open", "close"} {
		stream, err := textClient(t, w.conn, seenFlow).OpenStream(t.Context(), dynamic.WithMetadata(map[string]string{"panic": where}))
		if where == "close" {
			require.NoError(t, err)
			require.ErrorIs(t, requireEnd(t, stream), errors.ErrStreamClosed)
		} else {
			assert.Equal(t, "an interceptor of seen.Through/Flow panicked", requireCode(t, errors.Internal, err).Error())
		}
		require.Eventually(t, func() bool { return len(log.all()) == i+1 }, 10*time.Second, time.Millisecond, "the log is written by another goroutine")
	}
	ofClient := dynamic.WithRequestStreamInterceptors(streamFunc(func(dynamic.StreamHandler) streamFuncs {
		return streamFuncs{
			send:  func(proto.Message, ...dynamic.StreamOption) error { panic("send") },
			close: func(error) error { panic("close") },
		}
	}))
	blocking := w.openFlow(t, ofClient)
	assert.PanicsWithValue(t, "send", func() { _ = blocking.Send(say("hi")) })
	// Here Close panics in a goroutine of the stream, because the handler has returned.
	requireEnd(t, blocking)
	assert.Len(t, log.all(), 3)

	w.handler(t)
	stream := w.openFlow(t, ofClient)
	assert.PanicsWithValue(t, "close", func() { _ = stream.Close(nil) })
	require.ErrorIs(t, requireEnd(t, stream), errors.ErrStreamClosed)
}

// handler replaces the service by one whose handler keeps each stream open.
func (w *seenWorld) handler(t testing.TB) {
	t.Helper()
	require.NoError(t, w.service.Close(t.Context()))
	var err error
	w.service, err = w.server.Register(descriptor(t, w.registry, "seen.Through"), dynamic.Handlers{"Flow": dynamic.Stream(idle)}, dynamic.AllowMissing())
	require.NoError(t, err)
}

// TestStreamInterceptor_FromElsewhere checks that an interceptor can deliver messages from any
// goroutine until the stream ends.
func TestStreamInterceptor_FromElsewhere(t *testing.T) {
	t.Parallel()
	nexts := make(chan dynamic.StreamHandler, 1)
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithClientStreamInterceptors(
		func(_ dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
			nexts <- next
			return next
		})}})
	stream := w.openFlow(t)
	next, done := <-nexts, make(chan int)
	go func() { // this goroutine ends when the stream is closed
		sent := 0
		for next.Recv(say("from elsewhere")) == nil {
			sent++
		}
		done <- sent
	}()
	for range 10 {
		requireText(t, "from elsewhere", stream.Channel())
	}
	require.NoError(t, stream.Close(nil))
	assert.GreaterOrEqual(t, requireSoon(t, done, "end"), 10)
	requireClosed(t, stream.Channel())
	require.ErrorIs(t, next.Recv(say("too late")), errors.ErrStreamClosed)
	assert.Equal(t, stream.Context(), dynamic.StreamContext(next))
}

// TestStreamInterceptor_AcksFirst checks that a message is acknowledged before the handler reads
// it. If the handler then ends the stream, Send still succeeds.
func TestStreamInterceptor_AcksFirst(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{
		server: []dynamic.ServerOption{dynamic.WithServerStreamInterceptors(passStream)},
		handlers: dynamic.Handlers{"Flow": dynamic.Stream(func(stream serverText) error {
			<-stream.Channel()
			return nil
		})},
	})
	for range 50 {
		stream := w.openFlow(t)
		require.NoError(t, stream.Send(say("the only one")))
		require.ErrorIs(t, requireEnd(t, stream), errors.ErrStreamClosed)
	}
}

// TestStreamInterceptor_Context checks that an interceptor can replace the context of a stream,
// including its metadata and values.
func TestStreamInterceptor_Context(t *testing.T) {
	t.Parallel()
	type key struct{}
	late := func(next dynamic.StreamHandler) streamFuncs {
		return streamFuncs{send: func(message proto.Message, opts ...dynamic.StreamOption) error {
			dynamic.SetStreamContext(next, context.Background())
			return next.Send(message, opts...)
		}}
	}
	ofClient := func(next dynamic.StreamHandler) streamFuncs {
		dynamic.SetStreamContext(next, dynamic.ContextWithMetadata(dynamic.StreamContext(next), map[string]string{"from": "interceptor"}))
		return late(next)
	}
	ofServer := func(next dynamic.StreamHandler) streamFuncs {
		incoming, _ := dynamic.RequestInfoFromContext(dynamic.StreamContext(next))
		dynamic.SetStreamContext(next, context.WithValue(dynamic.StreamContext(next), key{}, incoming.Metadata["from"]))
		return late(next)
	}
	ended := make(chan error, 1)
	w := newSeenWorld(t, with{
		conn:   []dynamic.ConnOption{dynamic.WithClientStreamInterceptors(streamFunc(ofClient))},
		server: []dynamic.ServerOption{dynamic.WithServerStreamInterceptors(streamFunc(ofServer))},
		handlers: dynamic.Handlers{"Flow": dynamic.Stream(func(stream serverText) error {
			for message := range stream.Channel() {
				if err := stream.Send(say(body(message) + " " + stream.Context().Value(key{}).(string))); err != nil {
					return err
				}
			}
			<-stream.Context().Done()
			ended <- context.Cause(stream.Context())
			return nil
		})},
	})
	stream, err := textClient(t, w.conn, seenFlow).OpenStream(context.WithValue(t.Context(), key{}, "client's"))
	require.NoError(t, err)
	assert.Equal(t, "client's", stream.Context().Value(key{}))
	require.NoError(t, stream.Send(say("hi")))
	requireText(t, "hi interceptor", stream.Channel())
	require.NoError(t, stream.Close(nil))
	require.ErrorIs(t, requireSoon(t, ended, "the end of the handler's context"), errors.ErrStreamClosed)
	// SetStreamContext has no effect on a handler that does not belong to a stream.
	dynamic.SetStreamContext(streamFuncs{}, context.Background())
}
