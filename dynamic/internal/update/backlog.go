package update

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/queue"
)

const (
	// MaxChannel is the maximum capacity of a subscription's channel. A channel allocates its
	// entire buffer when it is created. Further updates therefore wait in the backlog, which
	// allocates memory only when needed.
	MaxChannel = 1024
	// frameOverhead is the estimated memory, in bytes, that a waiting frame uses in addition to its
	// content.
	frameOverhead = 64
)

// backlog holds the frames that wait for a slow reader, in order of arrival. If Config.Handle is
// set, all frames pass through it. Frames are decoded only when they leave the backlog. The memory
// that they use until then is known, and dropped frames are never decoded.
type backlog struct {
	// limit is the maximum number of unread updates, including those in the channel. It is 0 if
	// there is no such limit.
	limit int
	// maxBytes is the maximum total size of the unread updates in bytes, including those in the
	// channel. It is 0 if there is no such limit.
	maxBytes int
	// largeUpdate is the size in bytes above which updates in the channel must be counted. Even if
	// smaller updates fill the channel, their total size is at most a quarter of maxBytes. It is
	// math.MaxInt if maxBytes is 0.
	largeUpdate int
	// counting reports whether a large update has arrived. From then on, all updates pass through
	// the backlog, which records the sizes of the updates in the channel.
	counting atomic.Bool
	// lagging reports whether a goroutine is delivering the backlog. While lagging is true, new
	// frames must be added to the backlog, because otherwise they would overtake the frames that
	// are already waiting.
	lagging atomic.Bool

	mu     sync.Mutex
	frames queue.FIFO[[]byte]
	bytes  int
	// sent contains the sizes of the updates in the channel, oldest first, and sentBytes their
	// total. The user takes updates out of the channel without notice, so both are out of date
	// until trimLocked removes the sizes of these updates.
	sent      queue.FIFO[int]
	sentBytes int
	// empty is the channel that emptied has returned. It is nil if emptied has not been called or
	// if all frames have been delivered.
	empty chan struct{}
}

// newBacklog returns the backlog of a subscription. channel is the capacity of the subscription's
// channel. limit and maxBytes are 0 if they do not apply.
func newBacklog(limit, maxBytes, channel int) *backlog {
	b := &backlog{limit: limit, maxBytes: maxBytes, largeUpdate: math.MaxInt}
	if maxBytes > 0 {
		b.largeUpdate = maxBytes / 4 / channel
	}
	return b
}

// observe sets the field counting if an update of this size is large; see largeUpdate.
func (b *backlog) observe(size int) {
	if size > b.largeUpdate && !b.counting.Load() {
		b.counting.Store(true)
	}
}

// recordSent records that an update has been put into the channel.
func (b *backlog) recordSent(size int) {
	if !b.counting.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent.Push(size)
	b.sentBytes += size + frameOverhead
}

// trimLocked forgets the updates that the user has taken out of the channel. inChannel is the
// number of updates that are left.
func (b *backlog) trimLocked(inChannel int) {
	for b.sent.Len() > inChannel {
		size, _ := b.sent.Pop()
		b.sentBytes -= size + frameOverhead
	}
}

// fullLocked reports whether there is no room for a frame of this size. inChannel is the number of
// updates in the subscription's channel.
func (b *backlog) fullLocked(size, inChannel int) bool {
	return b.limit > 0 && inChannel+b.frames.Len() >= b.limit || b.exceedsLocked(size, inChannel)
}

// exceedsLocked reports whether a further update of this size would exceed the maximum total size.
// If no other update is unread, the result is false, whatever the size.
func (b *backlog) exceedsLocked(size, inChannel int) bool {
	if b.maxBytes == 0 {
		return false
	}
	b.trimLocked(inChannel)
	waiting := b.bytes + b.sentBytes
	return waiting > 0 && waiting+size+frameOverhead > b.maxBytes
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
