package e2e

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/interceptors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/breaker"
	"github.com/dynpsrpc/dynpsrpc/interceptors/limits"
)

// testInterceptors checks the interceptors of this module with single calls, multi calls and
// streams.
func testInterceptors(t *testing.T, network Network) {
	for name, test := range map[string]func(*testing.T, *world){
		"Recovery": testRecovery, "Retry": testRetry, "Logging": testLogging, "ErrorMask": testErrorMask,
		"Auth": testAuth, "Limits": testLimits, "Breaker": testBreaker,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newWorld(t, network))
		})
	}
}

// serveIntercepted registers handlers for calls and for streams, and returns the two registrations.
// All handlers run handle. The name that handle receives is the name in the request or, on a
// stream, the payload of the first message.
func (w *world) serveIntercepted(
	t testing.TB, handle func(ctx context.Context, name string) error, opts ...dynamic.ServiceOption,
) (called, streamed *dynamic.Registration) {
	t.Helper()
	call := dynamic.Unary(func(ctx context.Context, request *api.MyRequest) (*api.MyResponse, error) {
		return respond(request), handle(ctx, request.GetName())
	})
	stream := dynamic.Stream(func(stream dynamic.ServerStream[*api.MyServerMessage, *api.MyClientMessage]) error {
		return handle(stream.Context(), string((<-stream.Channel()).GetPayload()))
	})
	server, handlers, streamHandlers := w.server(), dynamic.Handlers{}, dynamic.Handlers{}
	for _, kind := range callKinds {
		handlers[kind], handlers[kind+"Topic"], streamHandlers[kind] = call, call, stream
	}
	for service, handlers := range map[string]dynamic.Handlers{calls: handlers, streams: streamHandlers} {
		opts := append([]dynamic.ServiceOption{dynamic.AllowMissing(), dynamic.WithWireName(w.wireName(service))}, opts...)
		registration, err := server.Register(w.descriptor(service), handlers, opts...)
		require.NoError(t, err)
		if service == calls {
			called = registration
		} else {
			streamed = registration
		}
	}
	return called, streamed
}

// eachKind calls one method of each kind and opens a stream. It passes the error of each operation
// to check. The error is nil if the call succeeded, or if the server closed the stream without an
// error.
func eachKind(t *testing.T, conn *dynamic.Conn, name string, check func(t *testing.T, kind string, err error)) {
	t.Helper()
	for _, kind := range callKinds {
		_, err := newGeneratedCall(t, conn, kind)(t.Context(), sample(name), dynamic.WithExpectedResponses(1))
		check(t, kind, err)
	}
	client := newClient[*api.MyClientMessage, *api.MyServerMessage](t, conn, fullName(streams, kindQueue), nil)
	stream, err := client.OpenStream(t.Context())
	if err == nil {
		// Ignore the error: the stream may end before the message is acknowledged.
		_ = stream.Send(&api.MyClientMessage{Payload: []byte(name)})
		soon(t, stream.Context().Done(), "end of the stream")
		if err = stream.Err(); errors.Is(err, errors.ErrStreamClosed) {
			err = nil
		}
	}
	check(t, "stream", err)
}

func testRecovery(t *testing.T, w *world) {
	told := make(chan dynamic.Panic, 10)
	w.serveIntercepted(t, func(context.Context, string) error { panic("secret") },
		interceptors.Recovery(slog.New(slog.DiscardHandler), func(_ context.Context, p dynamic.Panic) { told <- p }))
	eachKind(t, w.conn(), "Ada", func(t *testing.T, kind string, err error) {
		t.Helper()
		assert.NotContains(t, requireCode(t, errors.Internal, err).Error(), "secret", kind)
		assert.Equal(t, "secret", soon(t, told, kind).Value)
	})
}

// testRetry checks that calls are retried if they exceed a rate limit or if no server has
// registered their topic yet. It also checks that a call is not retried once its handler has run,
// because the handler may have had side effects.
func testRetry(t *testing.T, w *world) {
	conn := w.conn(interceptors.Retry(interceptors.WithTrustedServers(),
		interceptors.WithAttempts(10_000), interceptors.WithBackoff(time.Millisecond, 50*time.Millisecond), interceptors.WithRetryBudget(0, 0)))
	var failures atomic.Int32
	refuse := func(context.Context, string) error {
		if failures.Add(-1) >= 0 {
			return errors.NewErrorf(errors.Unavailable, "busy")
		}
		return nil
	}
	called, _ := w.serveIntercepted(t, refuse, limits.Rate(20, 1))
	// Only the first call is within the rate limit. The others are retried.
	for range 5 {
		_, err := newGeneratedCall(t, conn, kindQueue)(t.Context(), sample("Ada"))
		require.NoError(t, err)
	}
	failures.Store(1)
	_, err := newGeneratedCall(t, conn, kindQueue)(t.Context(), sample("Ada"))
	// The call is not retried, because its handler has run.
	requireCode(t, errors.Unavailable, err)

	if !w.network.NoticesSilence {
		return
	}
	arrived := make(chan error, 1)
	// The function sends its result to the channel arrived, from which the test receives it below.
	time.AfterFunc(20*time.Millisecond, func() { arrived <- called.RegisterTopic(kindQueue+"Topic", "new") })
	_, err = newGeneratedCall(t, conn, kindQueue+"Topic", "new")(t.Context(), sample("Ada"), dynamic.WithRequestTimeout(patience))
	require.NoError(t, soon(t, arrived, "topic"))
	require.NoError(t, err)
}

// lines counts log records by message, side and code.
type lines struct {
	mu    sync.Mutex
	count map[string]int
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) WithGroup(string) slog.Handler            { return l }

func (l *lines) Handle(_ context.Context, record slog.Record) error {
	line := record.Message
	record.Attrs(func(attribute slog.Attr) bool {
		if attribute.Key == "side" || attribute.Key == "code" {
			line += " " + attribute.Value.String()
		}
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count == nil {
		l.count = map[string]int{}
	}
	l.count[line]++
	return nil
}

func testLogging(t *testing.T, w *world) {
	log := &lines{}
	logging := interceptors.Logging(slog.New(log))
	_, streamed := w.serveIntercepted(t, func(_ context.Context, name string) error { return fail(name) }, logging)
	conn := w.conn(logging)
	for _, name := range []string{"Ada", "coded"} {
		eachKind(t, conn, name, func(t *testing.T, kind string, err error) {
			t.Helper()
			assert.Equal(t, name == "coded", err != nil, kind)
		})
	}
	require.NoError(t, conn.Close())
	// Close waits for all stream handlers. After that, the end of every stream has been logged.
	require.NoError(t, streamed.Close(t.Context()))
	log.mu.Lock()
	defer log.mu.Unlock()
	assert.Equal(t, map[string]int{
		"call server ok": 4, "call client ok": 3, "multi call client ok": 2, "stream server ok": 1, "stream client ok": 1,
		"call server not_found": 4, "call client not_found": 3, "response client not_found": 1,
		"stream server not_found": 1, "stream client not_found": 1,
	}, log.count)
}

func testErrorMask(t *testing.T, w *world) {
	w.serveIntercepted(t, func(_ context.Context, name string) error { return fail(name) },
		interceptors.ErrorMask(slog.New(slog.DiscardHandler)))
	conn := w.conn()
	eachKind(t, conn, "plain", func(t *testing.T, kind string, err error) {
		t.Helper()
		assert.Equal(t, "internal error", requireCode(t, errors.Internal, err).Error(), kind)
	})
	eachKind(t, conn, "coded", func(t *testing.T, kind string, err error) {
		t.Helper()
		assert.Equal(t, "room gone", requireCode(t, errors.NotFound, err).Error(), kind)
	})
}

func testAuth(t *testing.T, w *world) {
	type user struct{}
	verify := func(ctx context.Context, token string, _ dynamic.RPCInfo) (context.Context, error) {
		if token != "ada's" {
			return nil, errors.New("secret")
		}
		return context.WithValue(ctx, user{}, "Ada"), nil
	}
	w.serveIntercepted(t, func(ctx context.Context, name string) error {
		if ctx.Value(user{}) != name {
			return errors.New("another user")
		}
		return nil
	}, interceptors.Auth(verify))
	for token, refused := range map[string]bool{"ada's": false, "eve's": true, "": true} {
		eachKind(t, w.conn(interceptors.AuthToken(interceptors.StaticToken(token))), "Ada", func(t *testing.T, kind string, err error) {
			t.Helper()
			if refused {
				requireCode(t, errors.Unauthenticated, err)
			} else {
				require.NoError(t, err, kind)
			}
		})
	}
}

func testLimits(t *testing.T, w *world) {
	w.serveIntercepted(t, func(context.Context, string) error { return nil },
		limits.Concurrency(1, limits.PerMethod()), limits.Rate(0.001, 1, limits.PerMethod()))
	conn := w.conn()
	for _, tooMuch := range []bool{false, true} {
		eachKind(t, conn, "Ada", func(t *testing.T, kind string, err error) {
			t.Helper()
			if tooMuch {
				requireCode(t, errors.ResourceExhausted, err)
			} else {
				require.NoError(t, err, kind)
			}
		})
	}
}

func testBreaker(t *testing.T, w *world) {
	var asked atomic.Int32
	w.serveIntercepted(t, func(context.Context, string) error {
		asked.Add(1)
		return errors.NewErrorf(errors.Unavailable, "down")
	})
	call := newGeneratedCall(t, w.conn(breaker.New(breaker.WithThreshold(1, 3), breaker.WithCooldown(time.Hour))), kindQueue)
	for attempt := range 10 {
		_, err := call(t.Context(), sample("Ada"))
		requireCode(t, errors.Unavailable, err)
		assert.Equal(t, attempt >= 3, errors.Is(err, breaker.ErrOpen))
	}
	assert.EqualValues(t, 3, asked.Load())
}
