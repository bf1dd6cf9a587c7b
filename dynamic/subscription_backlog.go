package dynamic

import (
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/queue"
)

const (
	// DefaultBacklogBytes bounds the updates that wait for a lagging subscriber, unless
	// [WithBufferSize] sets a number of updates. It is also nats.go's limit for a subscription.
	DefaultBacklogBytes = 64 << 20
	// frameOverhead is the estimated memory of a waiting frame beyond its bytes.
	frameOverhead = 64
	// maxChannel is the maximum capacity of a subscription's channel. A channel allocates its whole
	// buffer when it is made, so updates beyond that wait in the backlog, which grows on demand.
	maxChannel = 1024
)

// backlog holds the frames that wait for a lagging subscriber, in the order of their arrival. With
// interceptors all frames pass through it. Frames are kept encoded: their memory is known exactly,
// and a frame that is dropped need not be decoded.
type backlog struct {
	// limit is the maximum number of unread updates, including those in the channel. If it is 0,
	// the limit is DefaultBacklogBytes, not including the channel.
	limit int
	// lagging is true while a goroutine drains the backlog. New frames must then be put into the
	// backlog, since they would otherwise overtake the frames in it.
	lagging atomic.Bool

	mu     sync.Mutex
	frames queue.FIFO[[]byte]
	bytes  int
}

// fullLocked reports whether a frame of this size can be added only after dropping another one.
func (b *backlog) fullLocked(size, inChannel int) bool {
	if b.limit > 0 {
		return inChannel+b.frames.Len() >= b.limit
	}
	return b.frames.Len() > 0 && b.bytes+size+frameOverhead > DefaultBacklogBytes
}

func (b *backlog) pushLocked(frame []byte) {
	b.frames.Push(frame)
	b.bytes += len(frame) + frameOverhead
}

func (b *backlog) popLocked() (frame []byte, ok bool) {
	if frame, ok = b.frames.Pop(); ok {
		b.bytes -= len(frame) + frameOverhead
	}
	return frame, ok
}

// pop removes and returns the oldest frame. If there is none it returns false and clears lagging;
// the caller must then stop draining. Both happen under mu, so that an enqueue either comes before
// and is drained, or comes after and starts a new goroutine.
func (b *backlog) pop() (frame []byte, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if frame, ok = b.popLocked(); !ok {
		b.lagging.Store(false)
	}
	return frame, ok
}

// len returns the number of waiting frames.
func (b *backlog) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.frames.Len()
}
