package natsbus

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

const (
	// maxQueued is the maximum number of frames that one sender accepts from other goroutines.
	// Further publishers wait until the sender has finished, and one of them becomes the next
	// sender. This keeps a call to Publish from sending other goroutines' frames indefinitely.
	maxQueued = 256
	// contentionWindow is the number of consecutive Publish calls without contention after which
	// the combiner no longer expects concurrent publishers.
	contentionWindow = 64
)

// combiner implements flat combining for Publish. A goroutine that finds no active sender becomes
// the sender. Other goroutines append their frames to the sender's queue and return.
//
// Publishers that call nats.go directly contend for the mutex of the nats.Conn, which is also held
// while nats.go writes to the socket. With the combiner, a publisher holds a lock only while it
// appends its frame. Frames published at the same time are sent in a single write. In a benchmark
// with 64 concurrent callers, servers in a queue group handled 69k calls per second with the
// combiner and 37.9k without it. The rate with the combiner is 1.19 times that of plain nats.go
// requests. The cost for a single publisher is two uncontended locks.
//
// The sender sends its own frame first and then the queued frames in order, so the frames of each
// goroutine stay in order. Publish validates a frame before it is queued. If sending the frame
// fails later, the error is passed to the frame's delivery report.
type combiner struct {
	mu sync.Mutex
	// senderDone wakes the publishers that are waiting because queued has reached maxQueued.
	senderDone *sync.Cond
	// sending reports whether a goroutine is currently the sender. The sender empties the queue
	// before it finishes.
	sending bool
	// queued counts the frames that the current sender has accepted from other goroutines.
	queued int
	// contention is positive while concurrent publishers are expected. A sender that has sent
	// frames for other goroutines sets it to contentionWindow; any other sender decrements it.
	contention int
	queue      []outgoing
	// spare is the slice of the previous batch. It is reused for the next queue.
	spare []outgoing
}

func newCombiner() *combiner {
	c := &combiner{}
	c.senderDone = sync.NewCond(&c.mu)
	return c
}

// outgoing is a frame to be published.
type outgoing struct {
	subject string
	// key is the routing key to append to frame. It may be empty.
	key    string
	frame  []byte
	report bus.DeliveryReport
}

// submit appends out to the queue of the current sender, if there is one, and reports that it is
// queued. Otherwise the caller becomes the sender. It must send its own frame, and then the batches
// returned by nextBatch until a batch is empty. If contended is true, the sender should yield the
// processor once before it sends. Other publishers can then queue their frames, which are sent in
// the same write.
func (c *combiner) submit(out outgoing) (queued, contended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.sending && c.queued == maxQueued {
		c.senderDone.Wait()
	}
	if !c.sending {
		c.sending = true
		return false, c.contention > 0
	}
	c.queued++
	c.queue = append(c.queue, out)
	return true, false
}

// nextBatch returns the frames that were queued since the previous call. If the batch is empty, the
// caller is no longer the sender. The batch is valid until the next call.
func (c *combiner) nextBatch() []outgoing {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		c.contention = max(c.contention-1, 0)
		if c.queued > 0 {
			c.contention = contentionWindow
		}
		c.sending, c.queued = false, 0
		c.senderDone.Broadcast()
		return nil
	}
	clear(c.spare)
	c.queue, c.spare = c.spare[:0], c.queue
	return c.spare
}
