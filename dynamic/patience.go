package dynamic

import (
	"context"
	"sync"
	"time"
)

// patience is the context of a publication: it ends so long after somebody first asked when it does. A bus asks only if
// it has to wait, so that one that is not busy costs no timer. It has no parent: an answer is sent however late, and
// also when its server is ending.
type patience struct {
	limit time.Duration // must be set before use

	mu    sync.Mutex
	asked *deadline // made by who first asked
}

// deadline is a context with the function that ends it.
type deadline struct {
	context.Context //nolint:containedctx // it is a context

	cancel context.CancelFunc
}

// ask returns the context behind this one.
func (p *patience) ask() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked == nil {
		p.asked = &deadline{}
		p.asked.Context, p.asked.cancel = context.WithTimeout(context.Background(), p.limit)
	}
	return p.asked.Context
}

// Deadline returns when it ends.
func (p *patience) Deadline() (time.Time, bool) { return p.ask().Deadline() }

// Done returns a channel that is closed when it ends.
func (p *patience) Done() <-chan struct{} { return p.ask().Done() }

// Err says why it ended. As long as nobody has asked when it ends, it does not.
func (p *patience) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked == nil {
		return nil
	}
	return p.asked.Err()
}

// Value asks the inner context if there is one, so that the standard library finds it when a child is made of this one.
func (p *patience) Value(key any) any {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked == nil {
		return nil
	}
	return p.asked.Value(key)
}

// end stops the timer, if there is one. Nothing is published with it any more.
func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked != nil {
		p.asked.cancel()
	}
}
