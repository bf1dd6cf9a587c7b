package dynamic_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
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

var errBroken = errors.NewErrorf(errors.Unavailable, "broker is out of reach")

// failSubscribe makes the nth of the following Subscribe calls fail.
func (b *fakeBus) failSubscribe(n int64) {
	var count atomic.Int64
	b.subscribe = func(ctx context.Context, channel bus.Channel, join bus.Mode, deliver bus.Handler) (bus.Subscription, error) {
		if count.Add(1) == n {
			return nil, errBroken
		}
		return b.Bus.Subscribe(ctx, channel, join, deliver)
	}
}

// blockSubscribe makes every Subscribe wait until its context ends. The channel that it returns
// receives a value each time a Subscribe begins.
func (b *fakeBus) blockSubscribe() <-chan struct{} {
	blocked := make(chan struct{}, 100)
	b.subscribe = func(ctx context.Context, _ bus.Channel, _ bus.Mode, _ bus.Handler) (bus.Subscription, error) {
		blocked <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return blocked
}

// TestRegister_RollsBack registers a service repeatedly. Each time, a different subscription fails,
// and none of the others may stay open.
func TestRegister_RollsBack(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newWorldOn(t, b)
	handlers := dynamic.Handlers{"Echo": identity[text](), "Direct": identity[text]()}
	failed := 0
	for n := int64(1); ; n++ {
		b.failSubscribe(n)
		registration, err := w.server.Register(descriptor(t, w.registry, "test.Echoes"), handlers, dynamic.AllowMissing())
		if err == nil {
			require.NotNil(t, registration)
			break
		}
		failed++
		require.Nil(t, registration)
		requireCode(t, errors.Unavailable, err)
		require.ErrorIs(t, err, errBroken)
		assert.Contains(t, err.Error(), " test.Echoes")
		require.Empty(t, b.open(), "after subscription %d", n)
	}
	assert.Equal(t, len(b.open()), failed, "each subscription has failed once")
	b.subscribe = nil
	w.requireWorking(t)
}

func TestRegister_BusThatDoesNotConfirm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		w := newWorldOn(t, b, dynamic.WithServerTimeout(7*time.Second))
		blocked := b.blockSubscribe()
		start := time.Now()
		_, err := w.server.Register(descriptor(t, w.registry, "test.Echoes"), nil, dynamic.AllowMissing())
		assert.Equal(t, 7*time.Second, time.Since(start))
		requireCode(t, errors.Unavailable, err)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Len(t, blocked, 1, "the first one decides")
		b.subscribe = nil
		w.serve(t, nil)
	})
}

func TestRegister_ServerEndsMeanwhile(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s *dynamic.Server){
		"kill":     (*dynamic.Server).Kill,
		"shutdown": func(s *dynamic.Server) { s.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFakeBus()
			w := newWorldOn(t, b, dynamic.WithServerTimeout(time.Hour))
			blocked, done := b.blockSubscribe(), make(chan error, 1)
			sd := descriptor(t, w.registry, "test.Echoes")
			go func() { // this goroutine ends when the server ends
				_, err := w.server.Register(sd, nil, dynamic.AllowMissing())
				done <- err
			}()
			requireSoon(t, blocked, "subscribe")
			end(w.server)
			require.Error(t, requireSoon(t, done, "register"))
			assert.Empty(t, b.open())
		})
	}
}

func TestRegister_BusIsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.bus.Close())
	_, err := w.server.Register(descriptor(t, w.registry, "test.Echoes"), nil, dynamic.AllowMissing())
	requireCode(t, errors.Unavailable, err)
	require.ErrorIs(t, err, bus.ErrClosed)
}

// TestNewClient_FailsAndCanBeTriedAgain lets each subscription of a client fail in turn, and then
// creates the client successfully.
func TestNewClient_FailsAndCanBeTriedAgain(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newWorldOn(t, b)
	w.serve(t, dynamic.Handlers{"Echo": identity[text](), "Direct": identity[text]()})
	served := len(b.open())
	for n := int64(1); n <= 2; n++ {
		b.failSubscribe(n)
		client, err := dynamic.NewClient[text, text](w.conn, echo)
		assert.Nil(t, client)
		requireCode(t, errors.Unavailable, err)
		require.ErrorIs(t, err, errBroken)
		assert.Contains(t, err.Error(), "client of test.Echoes/Echo: ")
	}
	b.failSubscribe(1) // the second attempt has already subscribed to the channel of claims
	_, err := dynamic.Invoke(t.Context(), w.conn, echo, nil)
	requireCode(t, errors.Unavailable, err)
	require.ErrorIs(t, err, errBroken)
	b.subscribe = nil
	w.requireWorking(t)
	assert.Len(t, b.open(), served+2)
	require.NoError(t, w.conn.Close())
	assert.Len(t, b.open(), served)
}

func TestNewClient_BusThatDoesNotConfirm(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{0, 7 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			b := newFakeBus()
			defer b.Close()
			conn, err := dynamic.NewConn(b, newRegistry(t), dynamic.WithClientTimeout(timeout))
			require.NoError(t, err)
			defer conn.Close()
			b.blockSubscribe()
			want := timeout
			if want == 0 {
				want = dynamic.DefaultClientTimeout
			}
			start := time.Now()
			_, err = dynamic.NewClient[text, text](conn, echo)
			assert.Equal(t, want, time.Since(start))
			requireCode(t, errors.DeadlineExceeded, err)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			b.subscribe = nil
			textClient(t, conn, echo)
		})
	}
}

// TestCall_BusThatDoesNotPublish makes the bus fail to carry a request in several ways, and checks
// the error of the call.
func TestCall_BusThatDoesNotPublish(t *testing.T) {
	t.Parallel()
	plain := errors.New("plain")
	for _, tt := range []struct {
		name    string
		publish func(ctx context.Context, report bus.DeliveryReport) error
		code    errors.ErrorCode
		is      error
		reason  errors.Reason
		phase   errors.Phase
	}{
		{"unavailable", func(context.Context, bus.DeliveryReport) error { return errBroken },
			errors.Unavailable, errBroken, errors.ReasonBusDown, errors.PhasePublish},
		{"closed", func(context.Context, bus.DeliveryReport) error { return bus.ErrClosed },
			errors.Unavailable, bus.ErrClosed, errors.ReasonBusDown, errors.PhasePublish},
		{"an error of its own", func(context.Context, bus.DeliveryReport) error { return plain },
			errors.Internal, plain, errors.ReasonBusDown, errors.PhasePublish},
		{"too large", func(context.Context, bus.DeliveryReport) error { return fmt.Errorf("here: %w", bus.ErrFrameTooLarge) },
			errors.ResourceExhausted, bus.ErrFrameTooLarge, errors.ReasonTooLarge, errors.PhasePublish},
		{"full until the context ends", func(ctx context.Context, _ bus.DeliveryReport) error { <-ctx.Done(); return ctx.Err() },
			errors.DeadlineExceeded, context.DeadlineExceeded, errors.ReasonDeadline, errors.PhasePublish},
		{"lost, known at once", func(_ context.Context, report bus.DeliveryReport) error {
			report.Delivered(0, errBroken)
			return nil
		}, errors.Unavailable, errBroken, errors.ReasonBusDown, errors.PhaseResponse},
		{"lost, known later", func(_ context.Context, report bus.DeliveryReport) error {
			go report.Delivered(bus.Unknown, errBroken) // this goroutine ends at once
			return nil
		}, errors.Unavailable, errBroken, errors.ReasonBusDown, errors.PhaseResponse},
		{"too large, known later", func(_ context.Context, report bus.DeliveryReport) error {
			go report.Delivered(bus.Unknown, bus.ErrFrameTooLarge) // this goroutine ends at once
			return nil
		}, errors.ResourceExhausted, bus.ErrFrameTooLarge, errors.ReasonTooLarge, errors.PhaseResponse},
		{"nobody, known later", func(_ context.Context, report bus.DeliveryReport) error {
			report.Delivered(bus.Unknown, nil)
			go report.Delivered(0, nil) // this goroutine ends at once
			return nil
		}, errors.Unavailable, errors.ErrNoResponse, errors.ReasonNobodyListening, errors.PhaseResponse},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newFakeBus()
			w := newWorldOn(t, b)
			b.publish = func(ctx context.Context, _ bus.Channel, _ []byte, report bus.DeliveryReport) error {
				return tt.publish(ctx, report)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			if tt.reason != errors.ReasonDeadline {
				ctx, cancel = context.WithTimeout(t.Context(), time.Hour)
			}
			defer cancel()
			start := time.Now()
			_, err := textClient(t, w.conn, echo).Call(ctx, wrapperspb.String("hi"))
			assert.Less(t, time.Since(start), atOnce)
			requireCode(t, tt.code, err)
			require.ErrorIs(t, err, tt.is)
			assert.Equal(t, tt.phase, requireFacts(t, tt.reason, err).Phase)
		})
	}
}

// TestCall_BusThatSaysNothing checks that calls work over a bus that cannot report how many
// receivers a request has.
func TestCall_BusThatSaysNothing(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newWorldOn(t, b)
	w.serve(t, dynamic.Handlers{"Echo": identity[text](), "Direct": identity[text](), "Best": identity[text]()})
	b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
		if report != nil {
			report.Delivered(bus.Unknown, nil)
		}
		return b.Bus.Publish(ctx, channel, frame, nil)
	}
	w.requireWorking(t)
	response, err := w.call(t, best, "hi")
	require.NoError(t, err)
	assert.Equal(t, "hi", response)
}

func TestCall_GrantThatCannotBeSent(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newWorldOn(t, b)
	w.serve(t, dynamic.Handlers{"Best": identity[text]()})
	b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
		if strings.HasSuffix(channel.Name, "RCLAIM") {
			return errBroken
		}
		return b.Bus.Publish(ctx, channel, frame, report)
	}
	// Shutdown would wait for the grant of the request, which cannot be sent.
	t.Cleanup(w.server.Kill)
	_, err := w.call(t, best, "hi", dynamic.WithRequestTimeout(time.Hour))
	requireCode(t, errors.Unavailable, err)
	require.ErrorIs(t, err, errBroken)
	facts := requireFacts(t, errors.ReasonBusDown, err)
	assert.Equal(t, errors.PhaseSelection, facts.Phase)
	assert.Equal(t, 1, facts.Claims)
}

// TestServer_AnswerThatCannotBeSent checks that the server logs a response that it cannot send,
// and continues to serve requests.
func TestServer_AnswerThatCannotBeSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, log := newFakeBus(), &capturedLog{}
		w := newWorldOn(t, b, dynamic.WithLogger(slog.New(log)))
		handled := make(chan struct{}, 1)
		w.serve(t, dynamic.Handlers{
			"Direct": identity[text](),
			"Echo": dynamic.Unary(func(_ context.Context, request text) (text, error) {
				handled <- struct{}{}
				return request, nil
			}),
		})
		var broken atomic.Bool
		b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
			if broken.Load() && strings.HasSuffix(channel.Name, "|RES") {
				return errBroken
			}
			return b.Bus.Publish(ctx, channel, frame, report)
		}
		broken.Store(true)
		_, err := w.call(t, echo, "hi", dynamic.WithRequestTimeout(50*time.Millisecond))
		requireCode(t, errors.DeadlineExceeded, err)
		requireSoon(t, handled, "handler")
		require.Eventually(t, func() bool { return len(log.all()) > 0 }, atOnce, time.Millisecond, "it is logged in the background")
		record := log.all()[0]
		assert.Equal(t, slog.LevelWarn, record["level"])
		assert.Equal(t, "Echoes|CLI_test|RES", record["channel"])
		require.ErrorIs(t, record["error"].(error), errBroken)
		broken.Store(false)
		response, err := w.call(t, direct, "hi")
		require.NoError(t, err)
		assert.Equal(t, "hi", response)
	})
}
