package lazyctx

import (
	"context"
	"sync/atomic"
	"time"
)

// Timeout is the context of a publication: it ends so long after somebody first asked when it does. A bus asks only if
// it has to wait, so that one that is not busy costs no timer. It has no parent: an answer is sent however late, and
// also when its server is ending.
type Timeout struct {
	Limit time.Duration                   // must be set before use
	inner atomic.Pointer[deadlineContext] // made by who first asked
}

// init returns the context behind this one.
func (p *Timeout) init() *deadlineContext {
	if inner := p.inner.Load(); inner != nil {
		return inner
	}
	inner := newDeadlineContext(context.Background(), time.Now().Add(p.Limit))
	if !p.inner.CompareAndSwap(nil, inner) { // somebody else asked at the same moment
		inner.cancel()
	}
	return p.inner.Load()
}

// Deadline returns when it ends.
func (p *Timeout) Deadline() (time.Time, bool) { return p.init().Deadline() }

// Done returns a channel that is closed when it ends.
func (p *Timeout) Done() <-chan struct{} { return p.init().Done() }

// Err says why it ended. As long as nobody has asked when it ends, it does not.
func (p *Timeout) Err() error {
	if inner := p.inner.Load(); inner != nil {
		return inner.Err()
	}
	return nil
}

// Value asks the inner context if there is one, so that the standard library finds it when a child is made of this one.
func (p *Timeout) Value(key any) any {
	if inner := p.inner.Load(); inner != nil {
		return inner.Value(key)
	}
	return nil
}

// Cancel stops the timer, if there is one. Nothing is published with it any more.
func (p *Timeout) Cancel() {
	if inner := p.inner.Load(); inner != nil {
		inner.cancel()
	}
}
