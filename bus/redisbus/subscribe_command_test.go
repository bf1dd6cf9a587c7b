package redisbus

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func namedChannels(names ...string) (channels []*channelState) {
	for _, name := range names {
		channels = append(channels, &channelState{name: name})
	}
	return channels
}

// Redis confirms the channels of the commands one by one, in the order in which they were sent.
func TestSentCommands_Confirm(t *testing.T) {
	t.Parallel()
	var sent sentCommands
	channels := namedChannels("a", "b", "c", "d", "e")
	sent.addLocked(false, channels[:1], 2)
	sent.addLocked(true, channels[1:], 2)
	require.Len(t, sent.commands, 3)
	assert.False(t, sent.commands[0].subscribe)
	assert.True(t, sent.commands[1].subscribe)
	for i, c := range channels {
		assert.Nil(t, sent.confirmLocked([]byte("other")))
		assert.Same(t, c, sent.confirmLocked([]byte(c.name)))
		assert.EqualValues(t, i+1, sent.replies.Load(), "an unexpected confirmation is no reply")
	}
	assert.Empty(t, sent.commands)
	assert.Nil(t, sent.confirmLocked([]byte("e")))
	assert.Nil(t, sent.refuseLocked())
	assert.EqualValues(t, len(channels), sent.replies.Load())
}

// Redis refuses a command as a whole. The replies that follow belong to the next commands.
func TestSentCommands_Refuse(t *testing.T) {
	t.Parallel()
	var sent sentCommands
	channels := namedChannels("a", "b", "c", "d")
	sent.addLocked(true, channels[:2], maxChannels)
	sent.addLocked(true, channels[2:], 1)
	require.Len(t, sent.commands, 3)
	assert.Equal(t, channels[:2], sent.refuseLocked().channels)
	assert.EqualValues(t, 1, sent.replies.Load(), "one reply for both channels")
	assert.Same(t, channels[2], sent.confirmLocked([]byte("c")))
	assert.Equal(t, channels[3:], sent.refuseLocked().channels)
	assert.Nil(t, sent.refuseLocked())
}
