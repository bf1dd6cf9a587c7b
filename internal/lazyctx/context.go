package lazyctx

import (
	"context"
	"sync"
	"time"
)

// Context is a context that ends at a fixed time, with its parent, or at a call of Cancel. The
// exported fields must be set before the first use and not be changed afterwards. All methods may
// be called concurrently.
//
// Cancel must be called when the operation has ended. It releases the timer, if there is one.
type Context struct {
	// Parent is the parent context. It must not be nil.
	Parent context.Context //nolint:containedctx // it is a context
	// Expiry is the deadline.
	Expiry time.Time
	// Info is the value for InfoKey. The handler of a request, stream or update finds the metadata
	// of what it handles there.
	Info any

	mu sync.Mutex
	// inner is created by the first call of Done.
	inner *deadlineContext
	// err is the result of the first Err that was not nil. Later calls return the same error.
	err error
}

// InfoKey is the key for which Context.Value returns Info.
type InfoKey struct{}

// Deadline returns Expiry.
func (c *Context) Deadline() (time.Time, bool) { return c.Expiry, true }

// Done returns a channel that is closed when the context ends. The first call creates the channel
// and its timer.
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

// Err returns nil until the context ends, and the same error after that: context.DeadlineExceeded,
// the error of the parent, or context.Canceled. Without a Done channel it compares the current time
// with Expiry.
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

// Value returns Info for InfoKey, and the value of the inner context or the parent for other keys.
// The inner context is asked first so that the context package can attach children to it directly.
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

// Cancel ends the context, unless it has ended before.
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
	default:
		// The state was never observed, so it does not matter whether the deadline has already
		// passed, and reading the clock is avoided.
		c.err = context.Canceled
	}
}
