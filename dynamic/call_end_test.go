package dynamic_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// atOnce is the time limit for calls that must end at once. It is far below their timeout of an
// hour.
const atOnce = 10 * time.Second

func TestCall_NobodyListening(t *testing.T) {
	t.Parallel()
	for _, name := range []string{echo, direct, best} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			start := time.Now()
			_, err := w.call(t, name, "hi", dynamic.WithRequestTimeout(time.Hour))
			assert.Less(t, time.Since(start), atOnce)
			requireCode(t, errors.Unavailable, err)
			require.ErrorIs(t, err, errors.ErrNoResponse)
			facts := requireFacts(t, errors.ReasonNobodyListening, err)
			assert.Equal(t, name, facts.Method)
			assert.Zero(t, facts.Claims)
			assert.Empty(t, facts.ServerID)
			assert.Contains(t, err.Error(), name+": nobody listening")
		})
	}
}

// TestCall_EndsAtOnce interrupts a call in several ways while its handler runs, and checks that
// the call returns at once.
func TestCall_EndsAtOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		end    func(w *world, cancel context.CancelFunc)
		code   errors.ErrorCode
		is     error
		reason errors.Reason
	}{
		{"conn closed", func(w *world, _ context.CancelFunc) { w.conn.Close() }, errors.Canceled, errors.ErrClientClosed, errors.ReasonClosed},
		{"bus closed", func(w *world, _ context.CancelFunc) { w.bus.Close() }, errors.Unavailable, bus.ErrClosed, errors.ReasonBusDown},
		{"canceled", func(_ *world, cancel context.CancelFunc) { cancel() }, errors.Canceled, context.Canceled, errors.ReasonCanceled},
	} {
		for _, name := range []string{echo, direct, best} {
			t.Run(tt.name+" "+name, func(t *testing.T) {
				t.Parallel()
				w, b := newWorld(t), newBlocker()
				handler := dynamic.Unary(b.handle)
				w.serve(t, dynamic.Handlers{"Echo": handler, "Direct": handler, "Best": handler})
				t.Cleanup(func() { close(b.release) })
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				client, done := textClient(t, w.conn, name), make(chan error, 1)
				go func() { // this goroutine ends with the call
					_, err := client.Call(ctx, wrapperspb.String("hi"), dynamic.WithRequestTimeout(time.Hour))
					done <- err
				}()
				requireSoon(t, b.started, "handler")
				tt.end(w, cancel)
				err := requireSoon(t, done, "end of the call")
				requireCode(t, tt.code, err)
				require.ErrorIs(t, err, tt.is)
				facts := requireFacts(t, tt.reason, err)
				assert.Equal(t, name, facts.Method)
				assert.Equal(t, errors.PhaseResponse, facts.Phase)
				if name == best {
					assert.Equal(t, "SRV_test", facts.ServerID)
					assert.Equal(t, 1, facts.Claims)
				}
			})
		}
	}
}

func TestCall_ContextHasEnded(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newWorldOn(t, b)
	w.serve(t, dynamic.Handlers{"Echo": identity[text]()})
	client := textClient(t, w.conn, echo)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for _, tt := range []struct {
		ctx    context.Context
		code   errors.ErrorCode
		is     error
		reason errors.Reason
	}{
		{canceled, errors.Canceled, context.Canceled, errors.ReasonCanceled},
		{late, errors.DeadlineExceeded, context.DeadlineExceeded, errors.ReasonDeadline},
	} {
		_, err := client.Call(tt.ctx, wrapperspb.String("hi"))
		requireCode(t, tt.code, err)
		require.ErrorIs(t, err, tt.is)
		assert.Equal(t, errors.PhasePublish, requireFacts(t, tt.reason, err).Phase)
	}
	assert.Empty(t, b.sent(), "psrpc sends such a request, which is of no use")
}

// TestCall_Timeouts checks the expiry that a request carries, for each combination of the three
// timeouts.
func TestCall_Timeouts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                   string
		conn, request, context time.Duration // 0 if it is not set
		want                   time.Duration
	}{
		{"default", 0, 0, 0, dynamic.DefaultClientTimeout},
		{"conn", time.Minute, 0, 0, time.Minute},
		{"request", 0, time.Minute, 0, time.Minute},
		{"context", 0, 0, time.Minute, time.Minute},
		{"request wins over a shorter conn", 30 * time.Second, time.Minute, 0, time.Minute},
		{"request wins over a longer conn", time.Hour, time.Minute, 0, time.Minute},
		{"conn is cut by the context", time.Hour, 0, time.Minute, time.Minute},
		{"conn is shorter than the context", time.Minute, 0, time.Hour, time.Minute},
		{"request is cut by the context", 0, time.Hour, time.Minute, time.Minute},
		{"request is shorter than the context", 0, time.Minute, time.Hour, time.Minute},
		{"all", 30 * time.Second, time.Hour, time.Minute, time.Minute},
		{"negative ones count as not set", -time.Minute, -time.Minute, 0, dynamic.DefaultClientTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newFakeBus()
			t.Cleanup(func() { b.Close() })
			conn, err := dynamic.NewConn(b, newRegistry(t), dynamic.WithClientTimeout(tt.conn))
			require.NoError(t, err)
			t.Cleanup(func() { conn.Close() })
			ctx, start := t.Context(), time.Now()
			if tt.context != 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithDeadline(ctx, start.Add(tt.context))
				defer cancel()
			}
			_, err = textClient(t, conn, echo).Call(ctx, nil, dynamic.WithRequestTimeout(tt.request))
			requireCode(t, errors.Unavailable, err)
			end := time.Now()

			requests := b.sentRequests(t)
			require.Len(t, requests, 1)
			expiry := time.Unix(0, requests[0].Expiry)
			if tt.context == tt.want {
				assert.WithinDuration(t, start.Add(tt.context), expiry, time.Millisecond, "the context's deadline")
			} else {
				assert.Equal(t, tt.want, time.Duration(requests[0].Expiry-requests[0].SentAt))
			}
			assert.WithinRange(t, expiry, start.Add(tt.want-time.Millisecond), end.Add(tt.want))
		})
	}
}

// TestCall_TimesOut lets calls time out, with the timeout set in each possible way.
func TestCall_TimesOut(t *testing.T) {
	t.Parallel()
	const timeout = 50 * time.Millisecond
	for _, tt := range []struct {
		name    string
		options []dynamic.ConnOption
		request []dynamic.RequestOption
		context bool
	}{
		{"conn", []dynamic.ConnOption{dynamic.WithClientTimeout(timeout)}, nil, false},
		{"request", nil, []dynamic.RequestOption{dynamic.WithRequestTimeout(timeout)}, false},
		{"context", nil, nil, true},
		{"context before request", nil, []dynamic.RequestOption{dynamic.WithRequestTimeout(time.Hour)}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, b := newWorld(t), newBlocker()
				handlerEnd := make(chan error, 1)
				w.serve(t, dynamic.Handlers{"Echo": dynamic.Unary(func(ctx context.Context, request text) (text, error) {
					<-ctx.Done()
					handlerEnd <- ctx.Err()
					// The handler keeps blocking, so that no response arrives before the client's
					// timeout.
					return b.handle(ctx, request)
				})})
				t.Cleanup(func() { close(b.release) })
				conn, err := dynamic.NewConn(w.bus, w.registry, tt.options...)
				require.NoError(t, err)
				t.Cleanup(func() { conn.Close() })
				client := textClient(t, conn, echo)
				ctx, start := t.Context(), time.Now()
				if tt.context {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, timeout)
					defer cancel()
				}
				_, err = client.Call(ctx, nil, tt.request...)
				assert.GreaterOrEqual(t, time.Since(start), timeout)
				assert.Less(t, time.Since(start), atOnce)
				requireCode(t, errors.DeadlineExceeded, err)
				require.ErrorIs(t, err, errors.ErrRequestTimedOut)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				facts := requireFacts(t, errors.ReasonSilent, err)
				assert.Equal(t, errors.PhaseResponse, facts.Phase)
				assert.Positive(t, facts.ResponseTime)
				assert.Equal(t, context.DeadlineExceeded, requireSoon(t, handlerEnd, "end of the handler's context"))
			})
		})
	}
}

// TestCall_HandlerContext checks that the handler's context has the deadline of the call, and is
// canceled when the handler has returned.
func TestCall_HandlerContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.useDefaultTimeouts(t) // these do not end the call before the deadline of its context
		contexts := make(chan context.Context, 1)
		w.serve(t, dynamic.Handlers{"Echo": dynamic.Unary(func(ctx context.Context, request text) (text, error) {
			assert.NoError(t, ctx.Err())
			contexts <- ctx
			return request, nil
		})})
		deadline := time.Now().Add(time.Hour)
		ctx, cancel := context.WithDeadline(t.Context(), deadline)
		defer cancel()
		_, err := textClient(t, w.conn, echo).Call(ctx, nil)
		require.NoError(t, err)
		handlers := <-contexts
		got, ok := handlers.Deadline()
		require.True(t, ok)
		assert.WithinDuration(t, deadline, got, time.Millisecond)
		requireSoon(t, handlers.Done(), "end of the handler's context after its return")
		assert.Equal(t, context.Canceled, handlers.Err())
	})
}

func TestConn_CloseAndAfter(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	t.Cleanup(func() { b.Close() })
	conn, err := dynamic.NewConn(b, newRegistry(t), patientConn)
	require.NoError(t, err)
	assert.Regexp(t, `^CLI_[a-zA-Z0-9]{12}$`, conn.ID())
	client := textClient(t, conn, echo)
	textClient(t, conn, direct)
	_, err = dynamic.Invoke(t.Context(), conn, repeat, nil)
	requireFacts(t, errors.ReasonNobodyListening, err)
	assert.Len(t, b.open(), 2, "claims and responses of one service: %v", b.open())
	select {
	case <-conn.Done():
		require.FailNow(t, "done before it is closed")
	default:
	}
	for range 2 {
		require.NoError(t, conn.Close())
		requireSoon(t, conn.Done(), "done")
		assert.Empty(t, b.open())
	}
	_, err = client.Call(t.Context(), nil)
	require.Error(t, err)
	_, err = dynamic.NewClient[text, text](conn, echo)
	require.ErrorIs(t, err, errors.ErrClientClosed)
	_, err = dynamic.Invoke(t.Context(), conn, repeat, nil)
	require.ErrorIs(t, err, errors.ErrClientClosed)
	select {
	case <-b.Done():
		require.FailNow(t, "the bus is not the conn's to close")
	default:
	}
}

func TestNewConn_Wrong(t *testing.T) {
	t.Parallel()
	reg, b := newRegistry(t), bus.NewLocal()
	_, err := dynamic.NewConn(nil, reg)
	requireCode(t, errors.InvalidArgument, err)
	_, err = dynamic.NewConn(b, nil)
	requireCode(t, errors.InvalidArgument, err)
	require.NoError(t, b.Close())
	_, err = dynamic.NewConn(b, reg)
	require.ErrorIs(t, err, bus.ErrClosed)
}
