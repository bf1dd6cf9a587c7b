package redisbus

import (
	"bytes"
	"sync"
	"sync/atomic"
)

// earlyFrames holds the frames that arrive before their session is active. Until then, Redis has
// not confirmed all channels, and a handler could not publish its response. The frames are
// delivered when the session becomes active, before any later frame.
type earlyFrames struct {
	// active is set once all channels are subscribed and Publish uses the session.
	active atomic.Bool
	// mu guards frames. activate holds it until the frames have been delivered, so that no later
	// frame overtakes them.
	mu     sync.Mutex
	frames []earlyFrame
}

// earlyFrame is a frame that arrived before its session was active.
type earlyFrame struct {
	channel, frame []byte
}

// hold stores a frame and returns true if the session is not active yet. It copies the name of the
// channel. Only the session's reader calls it.
func (e *earlyFrames) hold(channel, frame []byte) bool {
	if e.active.Load() {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.active.Load() {
		return false
	}
	e.frames = append(e.frames, earlyFrame{channel: bytes.Clone(channel), frame: frame})
	return true
}

// activate passes the stored frames to deliver, in the order in which they arrived, and then marks
// the session as active.
func (e *earlyFrames) activate(deliver func([]earlyFrame)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	deliver(e.frames)
	e.frames = nil
	e.active.Store(true)
}
