package natsbus_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// closes calls Close. It requires that Close returns in time and that all further calls fail.
func closes(t *testing.T, b *natsbus.Bus) {
	t.Helper()
	go func() { assert.NoError(t, b.Close()) }() // the caller waits until the bus is closed
	soon(t, b.Done(), "end of the bus")
	require.ErrorIs(t, b.Publish(t.Context(), results, nil, newReports()), bus.ErrClosed)
	_, err := b.Subscribe(t.Context(), results, bus.Broadcast, func([]byte) {})
	require.ErrorIs(t, err, bus.ErrClosed)
	assert.False(t, b.Stats().Connected)
	require.NoError(t, b.Close(), "again")
}

func TestBus_CloseInEveryState(t *testing.T) {
	t.Parallel()
	for name, reach := range map[string]func(t *testing.T, server *testenv.NATSProcessServer) *natsbus.Bus{
		"unused": func(t *testing.T, server *testenv.NATSProcessServer) *natsbus.Bus {
			return newBus(t, server.URL())
		},
		"in use": func(t *testing.T, server *testenv.NATSProcessServer) *natsbus.Bus {
			b := newBus(t, server.URL())
			listen(t, b, requests, bus.Queue)
			listen(t, b, others, bus.Queue)
			listen(t, b, results, bus.Broadcast)
			require.NoError(t, b.Publish(t.Context(), requests, nil, newReports()))
			return b
		},
		"disconnected": func(t *testing.T, server *testenv.NATSProcessServer) *natsbus.Bus {
			events, handler := newEvents()
			b := newBus(t, server.URL(), handler)
			listen(t, b, requests, bus.Queue)
			server.Kill()
			events.next(t, bus.Disconnected)
			return b
		},
		"never connected": func(t *testing.T, server *testenv.NATSProcessServer) *natsbus.Bus {
			server.Kill()
			return newBusOn(t, connect(t, server.URL(), nats.RetryOnFailedConnect(true)))
		},
		"stuck": func(t *testing.T, server *testenv.NATSProcessServer) *natsbus.Bus {
			b := newBus(t, server.URL())
			listen(t, b, requests, bus.Queue)
			server.Pause()
			t.Cleanup(server.Resume)
			return b
		},
		"on a closed connection": func(t *testing.T, server *testenv.NATSProcessServer) *natsbus.Bus {
			nc := connect(t, server.URL())
			b := newBusOn(t, nc)
			listen(t, b, requests, bus.Queue)
			nc.Close()
			return b
		},
		"while subscribing": func(t *testing.T, server *testenv.NATSProcessServer) *natsbus.Bus {
			b := newBus(t, server.URL())
			server.Pause()
			t.Cleanup(server.Resume)
			ended := make(chan error, 1)
			go func() { // the cleanup function waits for this goroutine
				_, err := b.Subscribe(context.WithoutCancel(t.Context()), requests, bus.Queue, func([]byte) {})
				ended <- err
			}()
			t.Cleanup(func() { require.ErrorIs(t, soon(t, ended, "end of Subscribe"), bus.ErrClosed) })
			return b
		},
		"while a subscription closes": func(t *testing.T, server *testenv.NATSProcessServer) *natsbus.Bus {
			b := newBus(t, server.URL())
			_, subscription := listen(t, b, requests, bus.Queue)
			server.Pause()
			t.Cleanup(server.Resume)
			ended := make(chan struct{})
			go func() { // the cleanup function waits for this goroutine
				subscription.Close()
				close(ended)
			}()
			t.Cleanup(func() { soon(t, ended, "end of the subscription's Close") })
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			closes(t, reach(t, testenv.NATSProcess(t)))
		})
	}
}

func TestBus_CloseWhileInUse(t *testing.T) {
	t.Parallel()
	url := testenv.NATS(t).URL()
	b := newBus(t, url)
	started := make(chan struct{}, 8)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				if err := b.Publish(t.Context(), requests, nil, newReports()); err != nil {
					assert.ErrorIs(t, err, bus.ErrClosed)
					return
				}
			}
		})
		all.Go(func() {
			for first := true; ; first = false {
				s, err := b.Subscribe(t.Context(), requests, bus.Queue, func([]byte) {})
				if err != nil {
					assert.ErrorIs(t, err, bus.ErrClosed)
					return
				}
				s.Close()
				if first {
					started <- struct{}{}
				}
			}
		})
	}
	soon(t, started, "start")
	closes(t, b)
	all.Wait()
}

func TestBus_CloseWaitsForADelivery(t *testing.T) {
	t.Parallel()
	b := newBus(t, testenv.NATS(t).URL())
	delivering, proceed := make(chan struct{}), make(chan struct{})
	s, err := b.Subscribe(t.Context(), results, bus.Broadcast, func([]byte) {
		close(delivering)
		<-proceed
	})
	require.NoError(t, err)
	publish(t, b, results, nil)
	soon(t, delivering, "delivery")
	closed := make(chan struct{}, 2)
	for _, end := range []func(){s.Close, func() { _ = b.Close() }} {
		go func() { // the test waits for this goroutine
			end()
			closed <- struct{}{}
		}()
	}
	select {
	case <-closed:
		assert.Fail(t, "closed during a delivery")
	case <-time.After(50 * time.Millisecond):
	}
	close(proceed)
	soon(t, closed, "one end")
	soon(t, closed, "the other")
}

// Close must not close a connection that was passed to New, but it must remove the subscriptions of
// the bus from it.
func TestBus_CloseLeavesTheConnection(t *testing.T) {
	t.Parallel()
	url := testenv.NATS(t).URL()
	errs := make(chan error, 16)
	nc := connect(t, url, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { errs <- err }))
	other := newBusOn(t, nc)
	frames, _ := listen(t, other, results, bus.Broadcast)
	for range 3 {
		b := newBusOn(t, nc)
		listen(t, b, results, bus.Broadcast)
		require.NoError(t, b.Close())
	}
	assert.Equal(t, 2, nc.NumSubscriptions(), "the subscriptions of the other bus")
	publish(t, other, results, []byte("x"))
	soon(t, frames, "frame")

	_, err := nc.SubscribeSync("x")
	require.NoError(t, err)
	assert.NotNil(t, nc.ErrorHandler())
	nc.ErrorHandler()(nc, nil, nats.ErrSlowConsumer)
	assert.Equal(t, nats.ErrSlowConsumer, soon(t, errs, "error passed to the previous handler"))
	assert.Empty(t, errs, "once")
}

// The methods of a service share one NATS subscription. It must stay open until StartClose has been
// called for all of them. After that, the server itself must report that frames have no receivers,
// although Close has not removed the subscribers yet.
func TestSubscription_StartClose(t *testing.T) {
	t.Parallel()
	url := testenv.NATSProcess(t).URL()
	sender, b := newBus(t, url, allReports), newBus(t, url)
	methods, first := listen(t, b, requests, bus.Queue)
	otherMethods, second := listen(t, b, others, bus.Queue)
	start := func(subscription bus.Subscription) {
		for range 2 {
			subscription.(fanout.CloseStarter).StartClose()
		}
	}
	start(first)
	publish(t, sender, requests, envelope(t, "x", ""))
	publish(t, sender, others, envelope(t, "y", ""))
	soon(t, methods, "frame that arrives before Close")
	soon(t, otherMethods, "frame of the method that stays")

	start(second)
	// The server ends the subscriptions above before it confirms this one.
	listen(t, b, results, bus.Broadcast)
	received := b.Stats().Received
	reports := newReports()
	require.NoError(t, sender.Publish(t.Context(), requests, envelope(t, "x", ""), reports))
	require.NoError(t, sender.Publish(t.Context(), others, envelope(t, "y", ""), reports))
	for range 2 {
		assert.Equal(t, published{0, nil}, soon(t, reports, "report"))
	}
	assert.Equal(t, received, b.Stats().Received)
	first.Close()
	second.Close()
}
