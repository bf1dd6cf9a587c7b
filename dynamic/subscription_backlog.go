package dynamic

import (
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/queue"
)

const (
	// DefaultBacklogBytes is the maximum total size, in bytes, of the updates that wait for a slow
	// subscriber. It does not apply if [WithBufferSize] limits the number of updates instead.
	// Subscriptions of nats.go have the same limit by default.
	DefaultBacklogBytes = 64 << 20
	// frameOverhead is the estimated memory, in bytes, that a waiting frame uses in addition to its
	// content.
	frameOverhead = 64
	// maxChannel is the maximum capacity of a subscription's channel. A channel allocates its
	// entire buffer when it is created. Further updates therefore wait in the backlog, which
	// allocates memory only when needed.
	maxChannel = 1024
)

// backlog holds the frames that wait for a slow subscriber, in order of arrival. If there are
// interceptors, all frames pass through the backlog. Frames are not decoded before they leave the
// backlog. The memory that they use is thus known, and frames that are dropped are never decoded.
type backlog struct {
	// limit is the maximum number of unread updates, including those in the channel. If limit is 0,
	// the size of the backlog is limited to DefaultBacklogBytes instead, which does not include the
	// channel.
	limit int
	// lagging reports whether a goroutine is delivering the backlog. While lagging is true, new
	// frames must be added to the backlog, because otherwise they would overtake the frames that
	// are already waiting.
	lagging atomic.Bool

	mu     sync.Mutex
	frames queue.FIFO[[]byte]
	bytes  int
	// empty is the channel that emptied has returned. It is nil if emptied has not been called or
	// if all frames have been delivered.
	empty chan struct{}
}

// fullLocked reports whether there is no room for a frame of the given size. inChannel is the
// number of updates in the subscription's channel.
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

// pop removes and returns the oldest frame. If the backlog is empty, pop sets lagging to false and
// returns false, and the caller must stop delivering. pop holds mu while it does so. A concurrent
// call to enqueue therefore either adds its frame before pop looks for one, or starts a new
// goroutine.
func (b *backlog) pop() (frame []byte, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if frame, ok = b.popLocked(); !ok {
		b.lagging.Store(false)
		if b.empty != nil {
			close(b.empty)
			b.empty = nil
		}
	}
	return frame, ok
}

// emptied returns a channel that is closed when all frames have been delivered. The caller must
// have ended the delivery by the bus, so that no frames are added any more.
func (b *backlog) emptied() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	empty := make(chan struct{})
	if b.lagging.Load() {
		b.empty = empty
	} else {
		close(empty)
	}
	return empty
}

// clear removes all waiting frames and returns their number.
func (b *backlog) clear() (frames uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	frames = uint64(b.frames.Len()) //nolint:gosec // a length is never negative
	b.frames, b.bytes = queue.FIFO[[]byte]{}, 0
	return frames
}

// len returns the number of waiting frames.
func (b *backlog) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.frames.Len()
}
