package dynamic

import (
	"context"
	"sync"
	"time"
)

// requestContext is the context of one request's handler: it ends at the request's expiry, with its parent, or
// when the handler has returned. Most handlers never ask for Done, so the timer and the channel behind it are
// made when one does.
type requestContext struct {
	parent   context.Context //nolint:containedctx // it is a context
	deadline time.Time
	source   incomingSource // what is being handled

	mu    sync.Mutex
	inner *deadline // made by the first Done
	err   error     // why it ended, as far as anybody has looked
}

// Deadline returns the request's expiry.
func (c *requestContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Done returns a channel that is closed when the context ends.
func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		c.inner = newDeadline(c.parent, c.deadline)
		if c.err != nil {
			c.inner.cancel()
		}
	}
	return c.inner.Done()
}

// Err says why the context ended. It does not change its mind.
func (c *requestContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.errLocked()
}

func (c *requestContext) errLocked() error {
	switch {
	case c.err != nil:
	case c.inner != nil:
		c.err = c.inner.Err()
	case c.parent.Err() != nil:
		c.err = c.parent.Err()
	case !time.Now().Before(c.deadline):
		c.err = context.DeadlineExceeded
	}
	return c.err
}

// Value asks the inner context, so that the standard library finds it when a child is made of this one.
func (c *requestContext) Value(key any) any {
	if key == (incomingKey{}) {
		return c.source
	}
	c.mu.Lock()
	inner := c.inner
	c.mu.Unlock()
	if inner != nil {
		return inner.Value(key)
	}
	return c.parent.Value(key)
}

// end ends the context, if it has not ended yet.
func (c *requestContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner != nil {
		c.inner.cancel()
	}
	switch {
	case c.err != nil:
	case c.inner != nil:
		c.err = c.inner.Err()
	default: // nobody has looked: it need not be known what was first, this or the expiry
		c.err = context.Canceled
	}
}
