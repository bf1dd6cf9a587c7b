package lazyctx

import (
	"context"
	"sync"
	"time"
)

// Context is a context that ends at a fixed time, when its parent ends, or when Cancel is called.
// The exported fields must be set before the first use and must not be changed afterwards. All
// methods are safe for concurrent use.
//
// Cancel must be called after the last use, to release the timer if one was created.
type Context struct {
	// Parent is the parent context. It must not be nil.
	Parent context.Context //nolint:containedctx // this type is itself a context
	// Expiry is the deadline.
	Expiry time.Time
	// Info is the value that the method Value returns for InfoKey. It describes the request, stream
	// or update that is being handled, including its metadata.
	Info any

	mu sync.Mutex
	// inner is the underlying standard library context. It is nil until Done is called.
	inner *deadlineContext
	// err is the error with which the context ended. It is set by Cancel, or by the first call to
	// Err after the context has ended. After that, it does not change.
	err error
}

// InfoKey is the key for which [Context.Value] returns Info.
type InfoKey struct{}

// Deadline returns the time at which the context ends, which is always Expiry.
func (c *Context) Deadline() (time.Time, bool) { return c.Expiry, true }

// Done returns a channel that is closed when the context ends. The channel and its timer are
// created by the first call.
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

// Err returns nil until the context ends. After that it always returns the same error:
// context.DeadlineExceeded, the error of the parent, or context.Canceled. If Done has not been
// called, Err compares the current time with Expiry.
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

// Value returns Info for InfoKey. For other keys it returns the value of the inner context or, if
// there is none, of the parent. The inner context is used if it exists, so that the context package
// can attach child contexts directly to it.
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

// Cancel ends the context. It does nothing if the context has already ended.
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
		// No caller has used Done or received an error from Err. It therefore does not matter
		// whether the deadline has already passed, and the clock need not be read.
		c.err = context.Canceled
	}
}
