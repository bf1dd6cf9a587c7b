package dynamic_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// TestSubscription_BehindLosesNothing checks that by default a subscriber which reads late
// receives all updates in order.
func TestSubscription_BehindLosesNothing(t *testing.T) {
	t.Parallel()
	const updates = 8000
	w := newSeenWorld(t, with{})
	subscription := w.subscribe(t)
	for i := range updates {
		require.NoError(t, w.service.Publish(t.Context(), "Feed", say(strconv.Itoa(i))))
	}
	for i := range updates {
		requireText(t, strconv.Itoa(i), subscription.Channel())
	}
	assert.Equal(t, dynamic.SubscriptionStats{Received: updates}, subscription.Stats())
}

// TestSubscription_BehindAndCatchingUp checks that updates stay in order while the subscriber
// alternately falls behind and catches up.
func TestSubscription_BehindAndCatchingUp(t *testing.T) {
	t.Parallel()
	const updates = 8000
	w := newSeenWorld(t, with{})
	subscription := w.subscribe(t)
	published := make(chan error, 1)
	go func() { // the test waits for the end of this goroutine
		var err error
		for i := 0; i < updates && err == nil; i++ {
			err = w.service.Publish(t.Context(), "Feed", say(strconv.Itoa(i)))
		}
		published <- err
	}()
	for i := range updates {
		requireText(t, strconv.Itoa(i), subscription.Channel())
	}
	require.NoError(t, requireSoon(t, published, "the publisher"))
}

// TestSubscription_BufferSize checks that a full buffer keeps the newest or the oldest updates,
// depending on the overflow policy.
func TestSubscription_BufferSize(t *testing.T) {
	t.Parallel()
	const updates, kept = 1000, 300 // more updates than the channel can hold
	for _, test := range []struct {
		overflow dynamic.OverflowPolicy
		first    int
	}{{dynamic.DropOldest, updates - kept}, {dynamic.DropNewest, 0}} {
		w := newSeenWorld(t, with{})
		subscription := w.subscribe(t, dynamic.WithBufferSize(kept), dynamic.WithOverflow(test.overflow))
		for i := range updates {
			require.NoError(t, w.service.Publish(t.Context(), "Feed", say(strconv.Itoa(i))))
		}
		require.Eventually(t, func() bool { return subscription.Stats().Received == updates }, 10*time.Second, time.Millisecond, "all came")
		assert.InDelta(t, updates-kept, subscription.Stats().Dropped, 1)
		// The first update may be older than those in the buffer, because it was already being put
		// into the channel when the buffer overflowed.
		requireSoon(t, subscription.Channel(), "an update")
		second, err := strconv.Atoi(body(requireSoon(t, subscription.Channel(), "an update")))
		require.NoError(t, err)
		assert.InDelta(t, test.first+1, second, 1)
		require.NoError(t, subscription.Close())
		left := uint64(2)
		for range subscription.Channel() {
			left++
		}
		stats := subscription.Stats()
		assert.Equal(t, stats.Received, left+stats.Dropped)
	}
}

// TestSubscription_BufferOfOne checks that the next read returns the latest update if the buffer
// holds one update.
func TestSubscription_BufferOfOne(t *testing.T) {
	t.Parallel()
	const updates = 1000
	w := newSeenWorld(t, with{})
	subscription := w.subscribe(t, dynamic.WithBufferSize(1))
	for i := range updates {
		require.NoError(t, w.service.Publish(t.Context(), "Feed", say(strconv.Itoa(i))))
	}
	require.Eventually(t, func() bool { return subscription.Stats().Received == updates }, 10*time.Second, time.Millisecond, "all came")
	latest, err := strconv.Atoi(body(requireSoon(t, subscription.Channel(), "an update")))
	require.NoError(t, err)
	assert.InDelta(t, updates-1, latest, 1)
}

// largeFeed subscribes to updates and publishes some. Each update has about size bytes. largeFeed
// returns the subscription, from which nothing has been read.
func largeFeed(t testing.TB, w *seenWorld, updates, size int, opts ...dynamic.RequestOption) dynamic.Subscription[text] {
	t.Helper()
	subscription := w.subscribe(t, opts...)
	filler := strings.Repeat("x", size)
	for i := range updates {
		require.NoError(t, w.service.Publish(t.Context(), "Feed", say(fmt.Sprintf("%06d%s", i, filler))))
	}
	require.Eventually(t, func() bool {
		stats := subscription.Stats()
		return stats.Received == uint64(updates) && stats.Waiting+stats.Dropped >= uint64(updates)-1
	}, 10*time.Second, time.Millisecond, "all came")
	return subscription
}

// TestSubscription_LargeUpdatesAreBoundedByBytes checks the limit on the total size of unread
// updates. Updates that are already in the channel must count too.
func TestSubscription_LargeUpdatesAreBoundedByBytes(t *testing.T) {
	t.Parallel()
	const size = 8 << 10
	bytes := dynamic.WithBufferBytes(10 * size)
	for _, test := range []struct {
		name                string
		options             []dynamic.RequestOption
		updates, size, kept int
		newest              bool
	}{
		{"default", nil, dynamic.DefaultBacklogBytes>>20 + 6, 1 << 20, dynamic.DefaultBacklogBytes >> 20, true},
		{"drop newest", []dynamic.RequestOption{bytes, dynamic.WithOverflow(dynamic.DropNewest)}, 100, size, 10, false},
		{"bytes", []dynamic.RequestOption{bytes}, 100, size, 10, true},
		{"bytes and number", []dynamic.RequestOption{bytes, dynamic.WithBufferSize(5)}, 100, size, 5, true},
		{"number", []dynamic.RequestOption{dynamic.WithBufferSize(80)}, 100, size, 80, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newSeenWorld(t, with{})
			subscription := largeFeed(t, w, test.updates, test.size, test.options...)
			assert.InDelta(t, test.kept, subscription.Stats().Waiting, 2)
			stats, read := subscription.Stats(), []int(nil)
			for range stats.Received - stats.Dropped {
				i, err := strconv.Atoi(body(requireSoon(t, subscription.Channel(), "update"))[:6])
				require.NoError(t, err)
				read = append(read, i)
			}
			assert.IsIncreasing(t, read, "the order stays")
			if test.newest {
				assert.Equal(t, test.updates-1, read[len(read)-1])
			} else {
				// The last update in read may have arrived later than the others. It had room
				// because another update was just being put into the channel and did not count.
				assert.Less(t, read[len(read)-2], test.kept)
			}
		})
	}
}

// TestSubscription_CompressedUpdatesAreBoundedByBytes checks that compressed updates count with
// their decompressed size.
func TestSubscription_CompressedUpdatesAreBoundedByBytes(t *testing.T) {
	t.Parallel()
	const updates, size, kept = 40, 8 << 10, 10
	for _, overflow := range []dynamic.OverflowPolicy{dynamic.DropOldest, dynamic.DropNewest} {
		w := newSeenWorldOn(t, compressingBus(t), with{})
		subscription := largeFeed(t, w, updates, size, dynamic.WithBufferBytes(kept*size), dynamic.WithOverflow(overflow))
		require.Eventually(t, func() bool {
			stats := subscription.Stats()
			return stats.Dropped > 0 && stats.Waiting <= kept+2
		}, 10*time.Second, time.Millisecond)
	}
}

// TestSubscription_SmallUpdatesAfterLargeOnes checks that large updates which have been read no
// longer count against the limit. No update may be dropped.
func TestSubscription_SmallUpdatesAfterLargeOnes(t *testing.T) {
	t.Parallel()
	const updates, size = 2000, 64 << 10
	w := newSeenWorld(t, with{})
	// There are 100 large updates. At most 11 of them are unread at the same time.
	subscription := w.subscribe(t, dynamic.WithBufferBytes(64*size))
	large := strings.Repeat("x", size)
	for i := range updates {
		update := say(strconv.Itoa(i))
		if i%10 == 0 && i < updates/2 {
			update = say(large)
		}
		require.NoError(t, w.service.Publish(t.Context(), "Feed", update))
		if i >= 100 {
			requireSoon(t, subscription.Channel(), "update")
		}
	}
	for range 100 {
		requireSoon(t, subscription.Channel(), "update")
	}
	assert.Equal(t, dynamic.SubscriptionStats{Received: updates}, subscription.Stats())
}
