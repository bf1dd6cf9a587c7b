package natsbus

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

const (
	// maxQueued is how many frames one goroutine sends for others before it is another's turn.
	maxQueued = 256
	// contentionWindow is for how many turns it is remembered that others had left something.
	contentionWindow = 64
)

// combiner has what is published while another goroutine is publishing: that one sends it as well. So those who publish at
// the same time do not wait for each other, nor for nats.go while that writes to the server, and what they publish
// leaves together.
type combiner struct {
	mu         sync.Mutex
	slotFreed  *sync.Cond // of those for whom too many had left something
	sending    bool       // somebody is, and will look into waiting
	queued     int        // frames that others have left with that one
	contention int        // for how many turns more others are expected
	queue      []outgoing
	spare      []outgoing // its memory is used again
}

func newCombiner() *combiner {
	o := &combiner{}
	o.slotFreed = sync.NewCond(&o.mu)
	return o
}

// outgoing is a frame to be published.
type outgoing struct {
	subject, key string // the key goes into the frame
	frame        []byte
	report       bus.DeliveryReport
}

// submit reports whether somebody else sends what is going out. If not, the caller must send it, and then all that is
// left meanwhile, until next has nothing more; if the outbox is crowded it does well to let others come first.
func (o *combiner) submit(out outgoing) (queued, contended bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.sending && o.queued == maxQueued {
		o.slotFreed.Wait()
	}
	if !o.sending {
		o.sending = true
		return false, o.contention > 0
	}
	o.queued++
	o.queue = append(o.queue, out)
	return true, false
}

// nextBatch returns what was left since the last time.
func (o *combiner) nextBatch() []outgoing {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		o.contention = max(o.contention-1, 0)
		if o.queued > 0 {
			o.contention = contentionWindow
		}
		o.sending, o.queued = false, 0
		o.slotFreed.Broadcast()
		return nil
	}
	clear(o.spare)
	o.queue, o.spare = o.spare[:0], o.queue
	return o.spare
}
