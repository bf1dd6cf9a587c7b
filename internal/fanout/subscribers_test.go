package fanout_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
)

func TestMembers_NilHasNone(t *testing.T) {
	t.Parallel()
	var none *fanout.Subscribers
	assert.Zero(t, none.DeliverBroadcast(nil))
	assert.False(t, none.DeliverQueue(nil))
	assert.False(t, none.HasPlain())
	assert.False(t, none.HasQueue())
	assert.Nil(t, none.Without(fanout.NewSubscriber(false, nil)))
	assert.Zero(t, none.Len())
	none.Close()
}

func TestMembers_EachPlainOneOfTheQueue(t *testing.T) {
	t.Parallel()
	got := [4]int{}
	var members *fanout.Subscribers
	for i := range got {
		members = members.With(fanout.NewSubscriber(i >= 2, func([]byte) { got[i]++ }))
	}
	assert.Equal(t, len(got), members.Len())
	assert.True(t, members.HasPlain())
	assert.True(t, members.HasQueue())
	for range 10 {
		assert.Equal(t, 2, members.DeliverBroadcast(nil))
		assert.True(t, members.DeliverQueue(nil))
	}
	assert.Equal(t, [4]int{10, 10, 5, 5}, got)
}

func TestMembers_ClosedOnesPassFramesOn(t *testing.T) {
	t.Parallel()
	got := 0
	leaving, staying := fanout.NewSubscriber(true, func([]byte) { got-- }), fanout.NewSubscriber(true, func([]byte) { got++ })
	members := (*fanout.Subscribers)(nil).With(leaving).With(staying)
	leaving.Close()
	for range 4 {
		assert.True(t, members.DeliverQueue(nil))
	}
	assert.Equal(t, 4, got)
	assert.Nil(t, members.Without(leaving).Without(staying))
	members.Close()
	assert.False(t, members.DeliverQueue(nil))
}
