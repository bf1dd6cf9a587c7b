package redisbus_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

func subscribe(t *testing.T, b *redisbus.Bus, channel string, mode bus.Mode, handler bus.Handler) bus.Multiplexed {
	t.Helper()
	subscription, err := b.Subscribe(t.Context(), bus.Channel{Name: channel}, mode, handler)
	require.NoError(t, err)
	t.Cleanup(subscription.Close)
	shared, ok := subscription.(bus.Multiplexed)
	require.True(t, ok)
	return shared
}

func ignore([]byte) {}

// Redis counts a bus as one subscriber of a channel, even if several subscriptions of the bus use
// that channel. The method Subscribers must return the number of these subscriptions.
func TestSubscription_Subscribers(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	b, other := connect(t, server), connect(t, server)
	first := subscribe(t, b, "c", bus.Broadcast, ignore)
	assert.Equal(t, 1, first.Subscribers())
	elsewhere := subscribe(t, other, "c", bus.Broadcast, ignore)
	another := subscribe(t, b, "another", bus.Broadcast, ignore)
	second, third := subscribe(t, b, "c", bus.Broadcast, ignore), subscribe(t, b, "c", bus.Broadcast, ignore)
	for _, subscription := range []bus.Multiplexed{first, second, third} {
		assert.Equal(t, 3, subscription.Subscribers())
	}
	assert.Equal(t, 1, elsewhere.Subscribers(), "on a connection of its own")
	assert.Equal(t, 1, another.Subscribers(), "on a channel of its own")

	queued := subscribe(t, b, "c", bus.Queue, ignore)
	assert.Equal(t, 4, queued.Subscribers())
	queued.Close()
	second.Close()
	assert.Equal(t, 2, first.Subscribers())
	third.Close()
	assert.Equal(t, 1, first.Subscribers())
	first.Close()
	assert.Equal(t, 1, first.Subscribers(), "at least one")
}

// A server calls the method Subscribers in its handler, on the goroutine that delivers the request.
// This call must not cause a deadlock.
func TestSubscription_SubscribersInsideHandler(t *testing.T) {
	t.Parallel()
	b := connect(t, testenv.Redis(t))
	const members = 20
	var subscriptions [members]bus.Multiplexed
	counts := make(chan int, members)
	for i := range subscriptions {
		subscriptions[i] = subscribe(t, b, "c", bus.Broadcast, func([]byte) {
			counts <- subscriptions[i].Subscribers()
		})
	}
	require.NoError(t, b.Publish(t.Context(), bus.Channel{Name: "c"}, []byte("frame"), nil))
	for range subscriptions {
		assert.Equal(t, members, <-counts)
	}
}
