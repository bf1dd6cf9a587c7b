package dynamic

import (
	"context"
	"sync/atomic"
	"time"
)

// patience is the context of a publication: it ends so long after somebody first asked when it does. A bus asks only if
// it has to wait, so that one that is not busy costs no timer. It has no parent: an answer is sent however late, and
// also when its server is ending.
type patience struct {
	limit time.Duration            // must be set before use
	asked atomic.Pointer[deadline] // made by who first asked
}

// ask returns the context behind this one.
func (p *patience) ask() *deadline {
	if asked := p.asked.Load(); asked != nil {
		return asked
	}
	asked := newDeadline(context.Background(), time.Now().Add(p.limit))
	if !p.asked.CompareAndSwap(nil, asked) { // somebody else asked at the same moment
		asked.cancel()
	}
	return p.asked.Load()
}

// Deadline returns when it ends.
func (p *patience) Deadline() (time.Time, bool) { return p.ask().Deadline() }

// Done returns a channel that is closed when it ends.
func (p *patience) Done() <-chan struct{} { return p.ask().Done() }

// Err says why it ended. As long as nobody has asked when it ends, it does not.
func (p *patience) Err() error {
	if asked := p.asked.Load(); asked != nil {
		return asked.Err()
	}
	return nil
}

// Value asks the inner context if there is one, so that the standard library finds it when a child is made of this one.
func (p *patience) Value(key any) any {
	if asked := p.asked.Load(); asked != nil {
		return asked.Value(key)
	}
	return nil
}

// end stops the timer, if there is one. Nothing is published with it any more.
func (p *patience) end() {
	if asked := p.asked.Load(); asked != nil {
		asked.cancel()
	}
}
