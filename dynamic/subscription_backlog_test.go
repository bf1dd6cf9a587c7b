package dynamic_test

import (
	"strconv"
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
	const updates = 20_000
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
	const updates = 20_000
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
		// This update may be older than the kept ones, because it was already being passed on.
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
