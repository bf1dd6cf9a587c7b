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

// combiner lets one goroutine send the frames of all goroutines that call Publish at the same time.
// The first goroutine becomes the sender. The others append their frames to its queue and return.
// Otherwise, they would contend for the mutex of the nats.Conn, which is held during writes to the
// socket.
//
// The sender sends its own frame and then the queue, so the frames of each goroutine stay in order.
// In a benchmark with 64 callers of a queue method, this made 1.8 times as many calls per second.
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

// submit appends out to the queue of the current sender and returns queued = true. If there is no
// sender, the caller becomes it, and must send its own frame and then the batches of nextBatch
// until one is empty. If contended is true, the sender should first yield the processor once, so
// that other publishers can queue frames for the same write.
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
