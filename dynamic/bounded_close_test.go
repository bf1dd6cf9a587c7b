package dynamic_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// silentBroker is a bus whose broker can be made to stop answering. Until it answers again,
// subscriptions do not end and nothing can be published.
type silentBroker struct {
	bus.Bus

	mu       sync.Mutex
	answers  chan struct{} // is closed while the broker answers
	answered bool
}

func newSilentBroker() *silentBroker {
	b := &silentBroker{Bus: bus.NewLocal()}
	b.answer()
	return b
}

func (b *silentBroker) silence() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers, b.answered = make(chan struct{}), false
}

func (b *silentBroker) answer() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.answers == nil {
		b.answers = make(chan struct{})
	}
	if !b.answered {
		close(b.answers)
		b.answered = true
	}
}

func (b *silentBroker) reply() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.answers
}

func (b *silentBroker) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	select {
	case <-b.reply():
		return b.Bus.Publish(ctx, channel, frame, report)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *silentBroker) Subscribe(
	ctx context.Context, channel bus.Channel, mode bus.Mode, deliver bus.Handler,
) (bus.Subscription, error) {
	subscription, err := b.Bus.Subscribe(ctx, channel, mode, deliver)
	return &silentSubscription{subscription, b}, err
}

type silentSubscription struct {
	bus.Subscription

	broker *silentBroker
}

func (s *silentSubscription) Close() {
	<-s.broker.reply()
	s.Subscription.Close()
}

// requireWithin checks that f takes at least atLeast and at most limit.
func requireWithin(t testing.TB, atLeast, limit time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	assert.LessOrEqual(t, time.Since(start), limit)
	assert.GreaterOrEqual(t, time.Since(start), atLeast)
}

const closeLimit = 500 * time.Millisecond

// serverTimeout limits how long a server waits for the broker.
var serverTimeout = dynamic.WithServerTimeout(dynamic.DefaultServerTimeout)

func withCloseLimit(t testing.TB, f func(ctx context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	var err error
	requireWithin(t, closeLimit, closeLimit+200*time.Millisecond, func() { err = f(ctx) })
	return err
}

// While the broker does not answer, Shutdown and Close return when their context ends, with an
// error that names what is still open. They complete once the broker answers again.
func TestServer_EndsInTimeWhileTheBrokerIsSilent(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]func(w *flowWorld, ctx context.Context) error{
		"Shutdown": func(w *flowWorld, ctx context.Context) error { return w.server.Shutdown(ctx) },
		"Close":    func(w *flowWorld, ctx context.Context) error { return w.service.Close(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newSilentBroker()
				w := newFlowWorld(t, b, echoFlow)
				for _, topic := range []string{"a", "b", "c"} {
					require.NoError(t, w.service.RegisterTopic("Region", topic))
				}
				for range 10 {
					w.open(t, flow)
				}
				b.silence()
				for range 2 {
					err := withCloseLimit(t, func(ctx context.Context) error { return tt(w, ctx) })
					requireCode(t, errors.DeadlineExceeded, err)
					require.ErrorIs(t, err, context.DeadlineExceeded)
					assert.Contains(t, err.Error(), "service streams.Flows: ")
				}
				b.answer()
				require.NoError(t, tt(w, t.Context()))
				require.NoError(t, w.server.Shutdown(t.Context()))
				require.NoError(t, w.conn.Close())
			})
		})
	}
}

// A service that was closed can be registered again even if the broker has not yet ended its
// subscriptions.
func TestRegistration_NameIsFreeWhileTheBrokerIsSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newSilentBroker()
		w := newFlowWorld(t, b, echoFlow)
		b.silence()
		require.Error(t, withCloseLimit(t, w.service.Close))
		w.serveFlows(t, w.server, echoFlow)
		require.Error(t, withCloseLimit(t, w.server.Shutdown))
		b.answer()
		require.NoError(t, w.server.Shutdown(t.Context()))
	})
}

// Kill takes no context, so the timeout of the server limits how long it waits for the broker. It
// stops the handlers before that.
func TestServer_KillWhileTheBrokerIsSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newSilentBroker()
		handle, servers, _ := handing(t)
		w := newFlowWorld(t, b, handle, serverTimeout)
		w.open(t, flow)
		server := <-servers
		b.silence()
		requireWithin(t, time.Second, 10*time.Second, w.server.Kill)
		require.ErrorIs(t, server.Err(), errors.ErrStreamEOF)
		requireSoon(t, w.server.Done(), "done")
		b.answer()
	})
}

// DeregisterTopic takes no context, so the timeout of the server limits how long it waits for the
// broker.
func TestRegistration_DeregisterTopicWhileTheBrokerIsSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newSilentBroker()
		w := newFlowWorld(t, b, echoFlow, serverTimeout)
		require.NoError(t, w.service.RegisterTopic("Region", "a"))
		b.silence()
		requireWithin(t, time.Second, dynamic.DefaultServerTimeout, func() {
			requireCode(t, errors.DeadlineExceeded, w.service.DeregisterTopic("Region", "a"))
		})
		requireCode(t, errors.NotFound, w.service.DeregisterTopic("Region", "a"))
		require.Error(t, withCloseLimit(t, w.service.Close))
		b.answer()
		require.NoError(t, w.service.Close(t.Context()))
	})
}

// The Close methods of conns, streams and subscriptions take no context. The timeout of the conn
// limits how long they wait for the broker.
func TestConn_EndsInTimeWhileTheBrokerIsSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newSilentBroker()
		w := newFlowWorld(t, b, echoFlow)
		w.conn = w.newConn(t, dynamic.WithClientTimeout(dynamic.DefaultClientTimeout))
		conn, err := dynamic.NewConn(b, w.registry)
		require.NoError(t, err)
		subscription, err := dynamic.InvokeSubscribe(t.Context(), conn, "test.Updates/Changed")
		require.NoError(t, err)
		stream := w.open(t, flow)
		for range 100 {
			w.open(t, flow)
		}
		b.silence()
		const limit = dynamic.DefaultClientTimeout + 100*time.Millisecond
		requireWithin(t, dynamic.DefaultClientTimeout, limit, func() { requireCode(t, errors.DeadlineExceeded, stream.Close(nil)) })
		requireWithin(t, dynamic.DefaultClientTimeout, limit, func() { requireCode(t, errors.DeadlineExceeded, subscription.Close()) })
		requireWithin(t, dynamic.DefaultClientTimeout, limit, func() { requireCode(t, errors.DeadlineExceeded, w.conn.Close()) })
		requireWithin(t, dynamic.DefaultClientTimeout, limit, func() { requireCode(t, errors.DeadlineExceeded, conn.Close()) })
		b.answer()
		require.NoError(t, subscription.Close())
		_, open := <-subscription.Channel()
		assert.False(t, open)
		require.NoError(t, w.conn.Close())
		require.NoError(t, conn.Close())
	})
}

// subscribeLimit is a broker that stops answering after a number of subscriptions.
type subscribeLimit struct {
	*silentBroker

	left int
}

func (b *subscribeLimit) limit(subscriptions int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = subscriptions
}

func (b *subscribeLimit) Subscribe(
	ctx context.Context, channel bus.Channel, mode bus.Mode, deliver bus.Handler,
) (bus.Subscription, error) {
	b.mu.Lock()
	b.left--
	left := b.left
	b.mu.Unlock()
	if left < 0 {
		b.silence()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return b.silentBroker.Subscribe(ctx, channel, mode, deliver)
}

// Replace takes no context, so the timeout of the server limits how long it waits for the broker.
// If the new version lacks a method, the old version stops serving this method even if its
// subscription does not end.
func TestRegistration_ReplaceWhileTheBrokerIsSilent(t *testing.T) {
	t.Parallel()
	const limit = dynamic.DefaultServerTimeout + 500*time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		b := &subscribeLimit{newSilentBroker(), 1000}
		w := newVersionsWorld(t, b, serverTimeout)
		old := descriptor(t, w.registry, "versions.Versions")
		const method = "rpc Queue(google.protobuf.StringValue) returns (google.protobuf.StringValue);"
		queueOnly := descriptor(t, newRegistry(t, versionsHead+method+"}"), "versions.Versions")
		call := func(name string) error {
			_, err := w.call(t, name, "hi")
			return err
		}
		require.NoError(t, call(versionsQueue))
		require.NoError(t, call(versionsDirect))
		b.silence()
		var next *dynamic.Registration
		var err error
		requireWithin(t, time.Second, limit, func() {
			next, err = w.service.Replace(queueOnly, dynamic.Handlers{"Queue": dynamic.Unary(echoHandler)})
		})
		require.NoError(t, err)
		b.answer()
		require.NoError(t, call(versionsQueue))
		require.Error(t, call(versionsDirect))
		require.NoError(t, w.service.Close(t.Context()))

		// The broker stops answering while the third version subscribes.
		for subscriptions := range 4 {
			b.limit(subscriptions)
			requireWithin(t, time.Second, limit, func() {
				_, err = next.Replace(old, version(3), dynamic.AllowMissing())
			})
			requireCode(t, errors.Unavailable, err)
			b.limit(1000)
			b.answer()
			require.NoError(t, call(versionsQueue), "the second version goes on")
		}
		require.NoError(t, w.server.Shutdown(t.Context()))
	})
}
