package redisbus

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Frames that arrive before the session is active must be delivered in order, before all later
// ones, and each only once.
func TestEarlyFrames_StayInOrder(t *testing.T) {
	t.Parallel()
	const frames = 1000
	var early earlyFrames
	var got []string
	deliver := func(channel, frame []byte) { got = append(got, string(channel)+string(frame)) }
	started := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		name := []byte("c")
		for i := range frames {
			if i == frames/2 {
				close(started)
			}
			frame := fmt.Append(nil, i)
			if !early.hold(name, frame) {
				deliver(name, frame)
			}
		}
	})
	<-started
	early.activate(func(held []earlyFrame) {
		for _, frame := range held {
			deliver(frame.channel, frame.frame)
		}
	})
	reader.Wait()
	assert.Len(t, got, frames)
	for i, frame := range got {
		assert.Equal(t, fmt.Sprint("c", i), frame)
	}
	assert.Empty(t, early.frames)
}

// The name of a channel is valid only until the next read, so it must be copied.
func TestEarlyFrames_CopyNames(t *testing.T) {
	t.Parallel()
	var early earlyFrames
	name := []byte("first")
	assert.True(t, early.hold(name, []byte("frame")))
	copy(name, "other")
	early.activate(func(held []earlyFrame) {
		assert.Equal(t, []earlyFrame{{[]byte("first"), []byte("frame")}}, held)
	})
	assert.False(t, early.hold(name, []byte("frame")))
}
