package guest

import (
	"context"
	"sync"
	"time"
)

// requestContext is the context of a request. It ends at the deadline or when the handler returns.
// It creates a timer only when Done is called: in the guest a timer costs more than the rest of a
// request, and most handlers do not call Done.
type requestContext struct {
	deadline time.Time

	mu sync.Mutex
	// inner is the context with the timer. It is nil until it is needed.
	inner  context.Context //nolint:containedctx // see above
	cancel context.CancelFunc
	ended  bool
}

// Deadline returns the time at which the host ends the instance.
func (c *requestContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Done returns a channel that is closed when the context ends.
func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.initLocked()
	return c.inner.Done()
}

// Err returns why the context ended, or nil if it has not ended.
func (c *requestContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil && !c.ended && time.Now().Before(c.deadline) {
		return nil
	}
	c.initLocked() // keeps the result of later calls the same
	return c.inner.Err()
}

// Value returns the value of the inner context. Package context thereby finds the standard context
// behind this one and needs no goroutine for a derived context.
func (c *requestContext) Value(key any) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		return nil
	}
	return c.inner.Value(key)
}

// initLocked creates the inner context.
func (c *requestContext) initLocked() {
	if c.inner != nil {
		return
	}
	c.inner, c.cancel = context.WithDeadline(context.Background(), c.deadline)
	if c.ended {
		c.cancel()
	}
}

// end ends the context when the handler has returned.
func (c *requestContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
}
