package natsbus

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

const (
	// maxLeft is how many frames one goroutine sends for others before it is another's turn.
	maxLeft = 256
	// crowdMemory is for how many turns it is remembered that others had left something.
	crowdMemory = 64
)

// outbox has what is published while another goroutine is publishing: that one sends it as well. So those who publish at
// the same time do not wait for each other, nor for nats.go while that writes to the server, and what they publish
// leaves together.
type outbox struct {
	mu      sync.Mutex
	turn    *sync.Cond // of those for whom too many had left something
	sending bool       // somebody is, and will look into waiting
	left    int        // frames that others have left with that one
	crowded int        // for how many turns more others are expected
	waiting []outgoing
	spare   []outgoing // its memory is used again
}

func newOutbox() *outbox {
	o := &outbox{}
	o.turn = sync.NewCond(&o.mu)
	return o
}

// outgoing is a frame to be published.
type outgoing struct {
	subject, key string // the key goes into the frame
	frame        []byte
	report       bus.DeliveryReport
}

// leave reports whether somebody else sends what is going out. If not, the caller must send it, and then all that is
// left meanwhile, until next has nothing more; if the outbox is crowded it does well to let others come first.
func (o *outbox) leave(out outgoing) (left, crowded bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.sending && o.left == maxLeft {
		o.turn.Wait()
	}
	if !o.sending {
		o.sending = true
		return false, o.crowded > 0
	}
	o.left++
	o.waiting = append(o.waiting, out)
	return true, false
}

// next returns what was left since the last time.
func (o *outbox) next() []outgoing {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting) == 0 {
		o.crowded = max(o.crowded-1, 0)
		if o.left > 0 {
			o.crowded = crowdMemory
		}
		o.sending, o.left = false, 0
		o.turn.Broadcast()
		return nil
	}
	clear(o.spare)
	o.waiting, o.spare = o.spare[:0], o.waiting
	return o.spare
}
