package bustest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

func testDelivery(t *testing.T, network Network) {
	t.Run("every broadcast subscription receives every frame", func(t *testing.T) {
		h := newHarness(t, network)
		a, b := h.connect(), h.connect()
		channel := h.channel()
		first, _ := h.subscribeInbox(a, channel, bus.Broadcast, 8)
		second, _ := h.subscribeInbox(a, channel, bus.Broadcast, 8)
		third, _ := h.subscribeInbox(b, channel, bus.Broadcast, 8)
		h.publish(a, channel, "one")
		h.publish(a, channel, "two")
		for _, in := range []*inbox{first, second, third} {
			assert.Equal(t, "one", in.next())
			assert.Equal(t, "two", in.next())
		}
		h.requireNoMore(b, channel, first, second, third)
	})

	t.Run("bytes arrive as published", func(t *testing.T) {
		h := newHarness(t, network)
		a, b := h.connect(), h.connect()
		channel := h.channel()
		in, _ := h.subscribeInbox(b, channel, bus.Broadcast, 8)
		every := make([]byte, 256)
		for i := range every {
			every[i] = byte(i)
		}
		large := strings.Repeat("0123456789abcdef", 32<<10) // 512 KiB
		for _, want := range []string{"", "\x00", string(every), large, "after"} {
			h.publish(a, channel, want)
			got := in.next()
			require.Len(t, got, len(want))
			// Comparing hashes keeps the failure message short.
			require.Equal(t, sha256.Sum256([]byte(want)), sha256.Sum256([]byte(got)))
		}
	})

	t.Run("a frame does not change after delivery", func(t *testing.T) {
		h := newHarness(t, network)
		a, b := h.connect(), h.connect()
		channel := h.channel()
		kept := make(chan []byte, 100)
		h.subscribe(b, channel, bus.Broadcast, func(frame []byte) { kept <- frame })
		for i := range cap(kept) {
			h.publish(a, channel, fmt.Sprint("frame ", i))
		}
		for i := range cap(kept) {
			select {
			case frame := <-kept:
				require.Equal(t, fmt.Sprint("frame ", i), text(bytes.Clone(frame)))
			case <-h.ctx.Done():
				require.FailNow(t, "a frame did not arrive")
			}
		}
	})

	t.Run("channels are isolated", testChannelIsolation(network))

	t.Run("a handler publishes", func(t *testing.T) {
		h := newHarness(t, network)
		a, b := h.connect(), h.connect()
		requests, replies := h.channel(), h.channel()
		in, _ := h.subscribeInbox(a, replies, bus.Broadcast, 8)
		h.subscribe(b, requests, bus.Broadcast, func(f []byte) {
			assert.NoError(t, b.Publish(h.ctx, replies, frame("re: "+text(f)), nil))
		})
		h.publish(a, requests, "hello")
		assert.Equal(t, "re: hello", in.next())
	})

	t.Run("a slow consumer does not delay others", func(t *testing.T) {
		h := newHarness(t, network)
		a, b := h.connect(), h.connect()
		channel := h.channel()
		const frames = 2000
		stuck := h.inbox(0) // its handler has no room for any frame
		h.subscribe(b, channel, bus.Broadcast, stuck.deliver)
		in, _ := h.subscribeInbox(b, channel, bus.Broadcast, frames)
		for i := range frames {
			h.publish(a, channel, fmt.Sprint(i))
		}
		for i := range frames {
			require.Equal(t, fmt.Sprint(i), in.next())
		}
	})
}

// testChannelIsolation checks that frames arrive only on the channel on which they were published.
// Some of the channels share a subject, and some names and keys are prefixes of others.
func testChannelIsolation(network Network) func(*testing.T) {
	return func(t *testing.T) {
		h := newHarness(t, network)
		a, b := h.connect(), h.connect()
		base := h.channel()
		channels := []bus.Channel{
			base,
			{Name: base.Name + "|x", Subject: base.Subject + ".x", Key: base.Key},
			{Name: base.Name + "|y", Subject: base.Subject, Key: "Other.REQ"},
			{Name: base.Name + "|z", Subject: base.Subject, Key: base.Key + "x"},
		}
		inboxes := make([]*inbox, len(channels))
		for i, channel := range channels {
			inboxes[i], _ = h.subscribeInbox(b, channel, bus.Broadcast, 8)
		}
		for _, channel := range channels {
			h.publish(a, channel, "for "+channel.Name)
		}
		for i, channel := range channels {
			assert.Equal(t, "for "+channel.Name, inboxes[i].next())
			h.requireNoMore(a, channel, inboxes[i])
		}
	}
}

func testReadiness(t *testing.T, network Network) {
	t.Run("live on return", func(t *testing.T) {
		h := newHarness(t, network)
		a, b := h.connect(), h.connect()
		for i := range 300 {
			channel := h.channel()
			mode := bus.Mode(i % 2)
			in, subscription := h.subscribeInbox(b, channel, mode, 1)
			h.publish(a, channel, "at once")
			require.Equal(t, "at once", in.next())
			subscription.Close()
		}
	})

	t.Run("from many goroutines", func(t *testing.T) {
		h := newHarness(t, network)
		a, b := h.connect(), h.connect()
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range 20 {
					channel := h.channel()
					got := make(chan struct{}, 1)
					subscription, err := b.Subscribe(h.ctx, channel, bus.Broadcast, func([]byte) { got <- struct{}{} })
					if !assert.NoError(t, err) {
						return
					}
					assert.NoError(t, a.Publish(h.ctx, channel, frame("at once"), nil))
					select {
					case <-got:
					case <-h.ctx.Done():
						assert.Fail(t, "a frame did not arrive")
					}
					subscription.Close()
				}
			})
		}
		wg.Wait()
	})

	t.Run("a context that has ended", func(t *testing.T) {
		h := newHarness(t, network)
		b := h.connect()
		ctx, cancel := context.WithCancel(h.ctx)
		cancel()
		channel := h.channel()
		_, err := b.Subscribe(ctx, channel, bus.Broadcast, func([]byte) { assert.Fail(t, "delivered") })
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, b.Publish(ctx, channel, frame("x"), nil), context.Canceled)
		in, _ := h.subscribeInbox(b, channel, bus.Broadcast, 8)
		h.requireNoMore(b, channel, in)
	})
}

func testOrder(t *testing.T, network Network) {
	h := newHarness(t, network)
	a, b := h.connect(), h.connect()
	channel := h.channel()
	const publishers, each = 8, 500
	in, _ := h.subscribeInbox(b, channel, bus.Broadcast, publishers*each)
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				assert.NoError(t, a.Publish(h.ctx, channel, frame(fmt.Sprintf("%d %d", p, i)), nil))
			}
		})
	}
	wg.Wait()
	next := make([]int, publishers)
	for range publishers * each {
		var p, i int
		_, err := fmt.Sscan(in.next(), &p, &i)
		require.NoError(t, err)
		require.Equal(t, next[p], i, "publisher %d", p)
		next[p]++
	}
}

func testReports(t *testing.T, network Network) {
	t.Run("receivers are counted", func(t *testing.T) {
		if !network.CountsReceivers {
			t.Skip("this network does not count receivers")
		}
		h := newHarness(t, network)
		a, b := h.connect(), h.connect()
		channel := h.channel()
		subscriptions := []bus.Subscription{}
		for n := range 4 {
			reports := newReports()
			require.NoError(t, a.Publish(h.ctx, channel, frame("x"), reports))
			reports.waitFor(h, n)
			_, subscription := h.subscribeInbox(h.connect(), channel, bus.Broadcast, 8)
			subscriptions = append(subscriptions, subscription)
		}
		for _, subscription := range subscriptions {
			subscription.Close()
		}
		reports := newReports()
		require.NoError(t, b.Publish(h.ctx, channel, frame("x"), reports))
		reports.waitFor(h, 0)
	})

	t.Run("no subscribers", func(t *testing.T) {
		if !network.DetectsNoSubscribers {
			t.Skip("this network does not detect that a channel has no subscribers")
		}
		h := newHarness(t, network)
		b := h.connect()
		for range 50 {
			reports := newReports()
			require.NoError(t, b.Publish(h.ctx, h.channel(), frame("x"), reports))
			reports.waitFor(h, 0)
		}
	})
}

func testLimits(t *testing.T, network Network) {
	if network.MaxFrameSize == 0 {
		t.Skip("this network has no limit to test")
	}
	h := newHarness(t, network)
	b := h.connect()
	channel := h.channel()
	in, _ := h.subscribeInbox(b, channel, bus.Broadcast, 8)
	err := b.Publish(h.ctx, channel, frame(strings.Repeat("x", network.MaxFrameSize)), nil)
	require.ErrorIs(t, err, bus.ErrFrameTooLarge)
	h.requireNoMore(b, channel, in)
}
