package bustest

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

func testClose(t *testing.T, network Network) {
	t.Run("nothing is delivered after a subscription's close", func(t *testing.T) {
		h := newHarness(t, network)
		a, b := h.connect(), h.connect()
		channel := h.channel()
		stop := make(chan struct{})
		var publisher sync.WaitGroup
		publisher.Go(func() {
			// Without a pause between frames, the broker could still be delivering them after the
			// test.
			pace := time.NewTicker(100 * time.Microsecond)
			defer pace.Stop()
			for {
				select {
				case <-stop:
					return
				case <-pace.C:
					if err := a.Publish(h.ctx, channel, frame("x"), nil); h.ctx.Err() == nil {
						assert.NoError(t, err)
					}
				}
			}
		})
		defer func() {
			close(stop)
			publisher.Wait()
		}()
		for range 100 {
			var closed atomic.Bool
			started := make(chan struct{}, 1)
			subscription := h.subscribe(b, channel, bus.Broadcast, func([]byte) {
				assert.False(t, closed.Load(), "delivered after close")
				select {
				case started <- struct{}{}:
				default:
				}
			})
			select {
			case <-started:
			case <-h.ctx.Done():
				require.Fail(t, "a frame did not arrive")
			}
			subscription.Close()
			closed.Store(true)
		}
	})

	t.Run("closing one subscription does not affect others", func(t *testing.T) {
		h := newHarness(t, network)
		a, b := h.connect(), h.connect()
		channel := h.channel()
		_, closing := h.subscribeInbox(b, channel, bus.Broadcast, 8)
		in, _ := h.subscribeInbox(b, channel, bus.Broadcast, 8)
		closing.Close()
		closing.Close()
		h.publish(a, channel, "still here")
		assert.Equal(t, "still here", in.next())
	})

	t.Run("a channel can be subscribed again", func(t *testing.T) {
		h := newHarness(t, network)
		a, b := h.connect(), h.connect()
		channel := h.channel()
		for range 20 {
			in, subscription := h.subscribeInbox(b, channel, bus.Broadcast, 8)
			h.publish(a, channel, "again")
			require.Equal(t, "again", in.next())
			subscription.Close()
		}
	})

	t.Run("concurrent close of one subscription", func(t *testing.T) {
		h := newHarness(t, network)
		_, subscription := h.subscribeInbox(h.connect(), h.channel(), bus.Queue, 8)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(subscription.Close)
		}
		wg.Wait()
	})

	t.Run("a closed bus", func(t *testing.T) {
		h := newHarness(t, network)
		b := h.connect()
		channel := h.channel()
		_, subscription := h.subscribeInbox(b, channel, bus.Broadcast, 8)
		select {
		case <-b.Done():
			require.Fail(t, "done before it was closed")
		default:
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { assert.NoError(t, b.Close()) })
		}
		wg.Wait()
		select {
		case <-b.Done():
		default:
			require.Fail(t, "closed, but not done")
		}
		require.ErrorIs(t, b.Publish(h.ctx, channel, frame("x"), nil), bus.ErrClosed)
		_, err := b.Subscribe(h.ctx, channel, bus.Broadcast, func([]byte) {})
		require.ErrorIs(t, err, bus.ErrClosed)
		subscription.Close()
	})
}

// testChurn publishes frames while subscriptions are opened and closed. It is most useful with the
// race detector and a check for leaked goroutines.
func testChurn(t *testing.T, network Network) {
	h := newHarness(t, network)
	a, b := h.connect(), h.connect()
	channels := make([]bus.Channel, 8)
	for i := range channels {
		channels[i] = h.channel()
	}
	var delivered atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				channel := channels[rand.IntN(len(channels))]
				subscription, err := b.Subscribe(h.ctx, channel, bus.Mode(rand.IntN(2)), func([]byte) { delivered.Add(1) })
				if !assert.NoError(t, err) {
					return
				}
				assert.NoError(t, a.Publish(h.ctx, channel, frame("x"), nil))
				subscription.Close()
			}
		})
	}
	wg.Wait()
	// The inbox needs room for more than one frame, because earlier frames may still arrive.
	const last, capacity = "the last one", 1000
	in, _ := h.subscribeInbox(b, channels[0], bus.Broadcast, capacity)
	h.publish(a, channels[0], last)
	for in.next() != last {
	}
}
