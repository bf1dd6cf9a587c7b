package transport

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestLimitFrames_BothDirections(t *testing.T) {
	t.Parallel()
	local := bus.NewLocal()
	defer local.Close()
	dropped := 0
	limited := LimitFrames(local, 3, func(channel bus.Channel, err error) {
		assert.Equal(t, "channel", channel.Name)
		require.ErrorIs(t, err, bus.ErrFrameTooLarge)
		dropped++
	})
	channel := bus.Channel{Name: "channel"}
	var received []string
	subscription, err := limited.Subscribe(t.Context(), channel, bus.Broadcast, func(frame []byte) {
		received = append(received, string(frame)) // the in-process bus delivers during Publish
	})
	require.NoError(t, err)
	defer subscription.Close()

	require.NoError(t, limited.Publish(t.Context(), channel, []byte("123"), nil))
	err = limited.Publish(t.Context(), channel, []byte("1234"), nil)
	require.ErrorIs(t, err, bus.ErrFrameTooLarge)
	require.EqualError(t, err, bus.ErrFrameTooLarge.Error()+": 4 bytes on channel channel, the limit of this server or conn is 3")
	coded, ok := errors.AsType[errors.Error](err)
	require.True(t, ok)
	assert.Equal(t, errors.ResourceExhausted, coded.Code())
	assert.Zero(t, dropped, "rejected frames are not counted as received")

	require.NoError(t, local.Publish(t.Context(), channel, []byte("1234"), nil))
	require.NoError(t, local.Publish(t.Context(), channel, []byte("321"), nil))
	assert.Equal(t, []string{"123", "321"}, received)
	assert.Equal(t, 1, dropped)
}

func TestLimitFrames_NoLimit(t *testing.T) {
	t.Parallel()
	local := bus.NewLocal()
	defer local.Close()
	for _, maxSize := range []int{0, -1} {
		assert.Same(t, local, LimitFrames(local, maxSize, nil))
	}
}
