package redisbus_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

func subscribe(t *testing.T, b *redisbus.Bus, channel string, join bus.Join, deliver bus.Deliver) bus.Shared {
	t.Helper()
	subscription, err := b.Subscribe(t.Context(), bus.Channel{Name: channel}, join, deliver)
	require.NoError(t, err)
	t.Cleanup(subscription.Close)
	shared, ok := subscription.(bus.Shared)
	require.True(t, ok)
	return shared
}

func ignore([]byte) {}

// Redis counts the connection of a bus once, however many subscriptions of a channel are on it.
func TestSubscription_Sharers(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	b, other := connect(t, server), connect(t, server)
	first := subscribe(t, b, "c", bus.Plain, ignore)
	assert.Equal(t, 1, first.Sharers())
	elsewhere := subscribe(t, other, "c", bus.Plain, ignore)
	another := subscribe(t, b, "another", bus.Plain, ignore)
	second, third := subscribe(t, b, "c", bus.Plain, ignore), subscribe(t, b, "c", bus.Plain, ignore)
	for _, subscription := range []bus.Shared{first, second, third} {
		assert.Equal(t, 3, subscription.Sharers())
	}
	assert.Equal(t, 1, elsewhere.Sharers(), "on a connection of its own")
	assert.Equal(t, 1, another.Sharers(), "on a channel of its own")

	queued := subscribe(t, b, "c", bus.Queue, ignore)
	assert.Equal(t, 4, queued.Sharers())
	queued.Close()
	second.Close()
	assert.Equal(t, 2, first.Sharers())
	third.Close()
	assert.Equal(t, 1, first.Sharers())
	first.Close()
	assert.Equal(t, 1, first.Sharers(), "never less")
}

// A server asks when a request comes, on the goroutine that delivers it.
func TestSubscription_SharersFromInsideDeliver(t *testing.T) {
	t.Parallel()
	b := connect(t, testenv.Redis(t))
	const members = 20
	var subscriptions [members]bus.Shared
	counts := make(chan int, members)
	for i := range subscriptions {
		subscriptions[i] = subscribe(t, b, "c", bus.Plain, func([]byte) {
			counts <- subscriptions[i].Sharers()
		})
	}
	require.NoError(t, b.Publish(t.Context(), bus.Channel{Name: "c"}, []byte("frame"), nil))
	for range subscriptions {
		assert.Equal(t, members, <-counts)
	}
}
