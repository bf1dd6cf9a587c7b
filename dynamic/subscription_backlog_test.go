package dynamic_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// TestSubscription_BehindLosesNothing: a subscriber that reads late gets all in order, by default.
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

// TestSubscription_BehindAndCatchingUp: the order stays when the subscriber is now behind and now not.
func TestSubscription_BehindAndCatchingUp(t *testing.T) {
	t.Parallel()
	const updates = 20_000
	w := newSeenWorld(t, with{})
	subscription := w.subscribe(t)
	published := make(chan error, 1)
	go func() { // the test reads what it publishes, and waits for its end
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

// TestSubscription_BufferSize: what is kept is the newest or the oldest.
func TestSubscription_BufferSize(t *testing.T) {
	t.Parallel()
	const updates, kept = 1000, 300 // more than the channel has room for
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
		requireSoon(t, subscription.Channel(), "an update") // which may be one that was not dropped, as it was being handed on
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

// TestSubscription_BufferOfOne: the next read is about the latest update.
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
