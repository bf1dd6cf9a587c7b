package fanout_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
)

func TestSubscribers_NilIsEmpty(t *testing.T) {
	t.Parallel()
	var none *fanout.Subscribers
	assert.Zero(t, none.DeliverBroadcast(nil))
	assert.False(t, none.DeliverQueue(nil))
	assert.False(t, none.HasQueue())
	assert.Nil(t, none.Without(fanout.NewSubscriber(false, nil)))
	assert.Zero(t, none.Len())
	none.Close()
}

func TestSubscribers_AllBroadcastAndOneOfTheQueue(t *testing.T) {
	t.Parallel()
	got := [4]int{}
	var subscribers *fanout.Subscribers
	for i := range got {
		subscribers = subscribers.With(fanout.NewSubscriber(i >= 2, func([]byte) { got[i]++ }))
	}
	assert.Equal(t, len(got), subscribers.Len())
	assert.True(t, subscribers.HasQueue())
	for range 10 {
		assert.Equal(t, 2, subscribers.DeliverBroadcast(nil))
		assert.True(t, subscribers.DeliverQueue(nil))
	}
	assert.Equal(t, [4]int{10, 10, 5, 5}, got)
}

func TestSubscribers_SkipsClosed(t *testing.T) {
	t.Parallel()
	got := 0
	closing := fanout.NewSubscriber(true, func([]byte) { got-- })
	remaining := fanout.NewSubscriber(true, func([]byte) { got++ })
	subscribers := (*fanout.Subscribers)(nil).With(closing).With(remaining)
	closing.Close()
	for range 4 {
		assert.True(t, subscribers.DeliverQueue(nil))
	}
	assert.Equal(t, 4, got)
	assert.Nil(t, subscribers.Without(closing).Without(remaining))
	subscribers.Close()
	assert.False(t, subscribers.DeliverQueue(nil))
}
