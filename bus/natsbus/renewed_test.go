package natsbus_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// After the server has been restarted, the bus must notify the subscriptions that they are live
// again. It must not notify closed ones.
func TestSubscription_NotifyRenewed(t *testing.T) {
	t.Parallel()
	server := testenv.NATSProcess(t)
	events, handler := newEvents()
	b := newBusOn(t, connect(t, server.URL()), handler)
	renewed := make(chan string, 10)
	subscribe := func(name string) bus.Subscription {
		subscription, err := b.Subscribe(t.Context(), results, bus.Broadcast, func([]byte) {})
		require.NoError(t, err)
		notifier, ok := subscription.(fanout.RenewalNotifier)
		require.True(t, ok)
		notifier.NotifyRenewed(func() { renewed <- name })
		return subscription
	}
	defer subscribe("open").Close()
	subscribe("closed").Close()
	for range 2 {
		server.Kill()
		events.next(t, bus.Disconnected)
		assert.Empty(t, renewed)
		server.Start()
		events.next(t, bus.Reconnected)
		assert.Equal(t, "open", soon(t, renewed, "renewed"))
		assert.NoError(t, b.Publish(t.Context(), results, []byte("x"), nil))
	}
	assert.Empty(t, renewed)
}
