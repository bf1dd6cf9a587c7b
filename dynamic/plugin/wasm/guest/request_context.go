package guest

import (
	"context"
	"sync"
	"time"
)

// requestContext is the context of one request's handler: it ends at the deadline, or when the handler has returned. A timer
// costs more than all the rest of a request, and most handlers never ask for Done, so it is made when one does.
type requestContext struct {
	deadline time.Time

	mu     sync.Mutex
	inner  context.Context //nolint:containedctx // made by the first Done
	cancel context.CancelFunc
	ended  bool
}

// Deadline returns the time at which the host ends the instance.
func (c *requestContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Done returns a channel that is closed when the context ends.
func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.makeInnerLocked()
	return c.inner.Done()
}

// Err says why the context ended.
func (c *requestContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil && !c.ended && time.Now().Before(c.deadline) {
		return nil
	}
	c.makeInnerLocked() // remembers
	return c.inner.Err()
}

// Value asks the inner context, so that the standard library finds it when a child is made of this one.
func (c *requestContext) Value(key any) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		return nil
	}
	return c.inner.Value(key)
}

func (c *requestContext) makeInnerLocked() {
	if c.inner != nil {
		return
	}
	c.inner, c.cancel = context.WithDeadline(context.Background(), c.deadline)
	if c.ended {
		c.cancel()
	}
}

// end ends the context, if it has not ended yet.
func (c *requestContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
}
