package dynamic

import (
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/queue"
)

const (
	// DefaultBacklogBytes is the maximum total size, in bytes, of the updates that wait for a slow
	// subscriber. It does not apply if [WithBufferSize] limits the number of updates instead. The
	// same limit is the default for subscriptions in nats.go.
	DefaultBacklogBytes = 64 << 20
	// frameOverhead is the estimated memory, in bytes, that a waiting frame uses in addition to its
	// content.
	frameOverhead = 64
	// maxChannel is the maximum capacity of a subscription's channel. A channel allocates its
	// entire buffer when it is created, so any further updates wait in the backlog, which grows on
	// demand.
	maxChannel = 1024
)

// backlog holds the frames that wait for a slow subscriber, in order of arrival. If there are
// interceptors, all frames pass through the backlog. Frames are kept encoded, so that their memory
// use is known exactly and frames that are dropped need not be decoded.
type backlog struct {
	// limit is the maximum number of unread updates, including those in the channel. If limit is 0,
	// the backlog is limited to DefaultBacklogBytes instead, and updates in the channel do not
	// count.
	limit int
	// lagging reports whether a goroutine is draining the backlog. While lagging is true, new
	// frames must be added to the backlog, because otherwise they would overtake the frames that
	// are already waiting.
	lagging atomic.Bool

	mu     sync.Mutex
	frames queue.FIFO[[]byte]
	bytes  int
}

// fullLocked reports whether another frame must be dropped before a frame of the given size can be
// added. inChannel is the number of updates in the subscription's channel.
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

// pop removes and returns the oldest frame. If the backlog is empty, pop clears lagging and returns
// false, and the caller must stop draining. Both happen while mu is held, so a concurrent enqueue
// either adds its frame in time for it to be drained or starts a new goroutine.
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
