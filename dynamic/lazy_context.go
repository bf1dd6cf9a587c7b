package dynamic

import (
	"context"
	"sync"
	"time"
)

// lazyContext is the context of one request's handler: it ends at the request's expiry, with its parent, or
// when the handler has returned. Most handlers never ask for Done, so the timer and the channel behind it are
// made when one does.
type lazyContext struct {
	parent   context.Context //nolint:containedctx // it is a context
	deadline time.Time
	provider requestInfoProvider // what is being handled

	mu    sync.Mutex
	inner *deadlineContext // made by the first Done
	err   error            // why it ended, as far as anybody has looked
}

// Deadline returns the request's expiry.
func (c *lazyContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Done returns a channel that is closed when the context ends.
func (c *lazyContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		c.inner = newDeadlineContext(c.parent, c.deadline)
		if c.err != nil {
			c.inner.cancel()
		}
	}
	return c.inner.Done()
}

// Err says why the context ended. It does not change its mind.
func (c *lazyContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.errLocked()
}

func (c *lazyContext) errLocked() error {
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
func (c *lazyContext) Value(key any) any {
	if key == (requestInfoKey{}) {
		return c.provider
	}
	c.mu.Lock()
	inner := c.inner
	c.mu.Unlock()
	if inner != nil {
		return inner.Value(key)
	}
	return c.parent.Value(key)
}

// cancel ends the context, if it has not ended yet.
func (c *lazyContext) cancel() {
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
