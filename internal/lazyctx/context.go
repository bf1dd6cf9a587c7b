package lazyctx

import (
	"context"
	"sync"
	"time"
)

// Context is the context of one request's handler: it ends at the request's expiry, with its parent, or
// when the handler has returned. Most handlers never ask for Done, so the timer and the channel behind it are
// made when one does.
type Context struct {
	Parent context.Context //nolint:containedctx // it is a context
	Expiry time.Time
	Info   any // what is being handled

	mu    sync.Mutex
	inner *deadlineContext // made by the first Done
	err   error            // why it ended, as far as anybody has looked
}

// Deadline returns the request's expiry.
func (c *Context) Deadline() (time.Time, bool) { return c.Expiry, true }

// Done returns a channel that is closed when the context ends.
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		c.inner = newDeadlineContext(c.Parent, c.Expiry)
		if c.err != nil {
			c.inner.cancel()
		}
	}
	return c.inner.Done()
}

// Err says why the context ended. It does not change its mind.
func (c *Context) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.errLocked()
}

func (c *Context) errLocked() error {
	switch {
	case c.err != nil:
	case c.inner != nil:
		c.err = c.inner.Err()
	case c.Parent.Err() != nil:
		c.err = c.Parent.Err()
	case !time.Now().Before(c.Expiry):
		c.err = context.DeadlineExceeded
	}
	return c.err
}

// Value asks the inner context, so that the standard library finds it when a child is made of this one.
func (c *Context) Value(key any) any {
	if key == (InfoKey{}) {
		return c.Info
	}
	c.mu.Lock()
	inner := c.inner
	c.mu.Unlock()
	if inner != nil {
		return inner.Value(key)
	}
	return c.Parent.Value(key)
}

// Cancel ends the context, if it has not ended yet.
func (c *Context) Cancel() {
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

// InfoKey is the key under which Value returns a Context's Info.
type InfoKey struct{}
