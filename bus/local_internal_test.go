package bus

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLocal_ClosedSubscriptionsLeaveNothing(t *testing.T) {
	t.Parallel()
	b := NewLocal()
	var subscriptions []Subscription
	for i := range 1000 {
		subscription, err := b.Subscribe(t.Context(), Channel{Name: strconv.Itoa(i / 4)}, Mode(i%2), func([]byte) {})
		require.NoError(t, err)
		subscriptions = append(subscriptions, subscription)
	}
	assert.Equal(t, 250, channels(b))
	for _, subscription := range subscriptions {
		subscription.Close()
	}
	assert.Zero(t, channels(b))
}

// channels returns the number of channels for which a bus holds state.
func channels(b *Local) (n int) {
	for range b.channels.Range {
		n++
	}
	return n
}
