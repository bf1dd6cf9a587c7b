package natsbus

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

const (
	// maxQueued is how many frames one goroutine sends for others. Publishers that come after that
	// wait until it has finished, and then one of them becomes the sender, so no caller of Publish
	// is kept sending for others indefinitely.
	maxQueued = 256
	// contentionWindow is for how many Publish calls without contention the combiner still expects
	// other publishers.
	contentionWindow = 64
)

// combiner implements flat combining for Publish: the goroutine that finds no sender becomes the
// sender, and the others append their frames to its queue and return.
//
// Publishers that call nats.go directly contend for the mutex of the nats.Conn, which is also held
// while nats.go writes to the socket. With the combiner they hold a lock only for an append, and
// frames that are published together leave in one write. Queue calls of 64 concurrent callers rose
// from 37.9k to 69k a second, which is 1.19 times the rate of bare nats.go requests. A single
// publisher finds no queue and pays two uncontended locks.
//
// The sender sends its own frame first and then the queue in order, so the frames of each goroutine
// stay in order. A frame in the queue has passed all checks of Publish; if sending it fails, the
// error goes to its delivery report.
type combiner struct {
	mu sync.Mutex
	// senderDone wakes publishers that found the queue full.
	senderDone *sync.Cond
	// sending is set while a goroutine sends; it takes the queue before it finishes.
	sending bool
	// queued counts the frames that the current sender has accepted from other goroutines.
	queued int
	// contention is for how many more senders other publishers are expected. It is contentionWindow
	// after a sender that had frames of others.
	contention int
	queue      []outgoing
	spare      []outgoing // the batch sent last, reused as the next queue
}

func newCombiner() *combiner {
	c := &combiner{}
	c.senderDone = sync.NewCond(&c.mu)
	return c
}

// outgoing is a frame to be published.
type outgoing struct {
	subject string
	// key is the routing key to append to the frame; it may be empty.
	key    string
	frame  []byte
	report bus.DeliveryReport
}

// submit reports whether it has queued the frame for the current sender. If not, the caller is the
// sender: it must send the frame and then the batches from nextBatch until one is empty. contended
// advises a sender to yield the processor once before it sends, so that other publishers can queue
// their frames and share the write.
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

// nextBatch returns the frames queued since its last call. An empty batch means that the caller is
// no longer the sender. The batch is valid until the next call.
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
