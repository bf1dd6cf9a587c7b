package redisbus_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// After Redis has been restarted, the bus must notify the subscriptions that they are live again.
// It must not notify closed ones.
func TestSubscription_NotifyRenewed(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	busEvents := make(events, 10)
	b := connect(t, server, busEvents.handler())
	renewed := make(chan string, 10)
	channel := bus.Channel{Name: "channel"}
	open := func(name string) bus.Subscription {
		subscription, err := b.Subscribe(t.Context(), channel, bus.Broadcast, ignore)
		require.NoError(t, err)
		notifier, ok := subscription.(fanout.RenewalNotifier)
		require.True(t, ok)
		notifier.NotifyRenewed(func() { renewed <- name })
		return subscription
	}
	defer open("open").Close()
	open("closed").Close()
	for range 2 {
		server.Kill()
		busEvents.next(t, bus.Disconnected)
		assert.Empty(t, renewed)
		server.Start()
		busEvents.next(t, bus.Reconnected)
		select {
		case name := <-renewed:
			assert.Equal(t, "open", name)
		case <-time.After(waitTimeout):
			require.Fail(t, "the subscription was not told")
		}
		assert.NoError(t, b.Publish(t.Context(), channel, []byte("x"), nil))
	}
	assert.Empty(t, renewed)
}
