package guest

import (
	"context"
	"sync"
	"time"
)

// requestContext is the context of a request. It ends at the deadline or when the handler returns.
// Its timer is created only when it is needed, usually by Done. Most handlers never need it, and
// creating a timer in the guest takes longer than the rest of a request.
type requestContext struct {
	deadline time.Time

	mu sync.Mutex
	// inner is the context with the timer. It is nil until it is needed.
	inner  context.Context //nolint:containedctx // see above
	cancel context.CancelFunc
	ended  bool
}

// Deadline implements context.Context. It returns the time at which the host stops the instance.
func (c *requestContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Done implements context.Context. It creates the inner context if there is none yet.
func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.initLocked()
	return c.inner.Done()
}

// Err implements context.Context. Once the context has ended, it returns the error of the inner
// context.
func (c *requestContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil && !c.ended && time.Now().Before(c.deadline) {
		return nil
	}
	c.initLocked() // from now on, Err returns the inner context's error
	return c.inner.Err()
}

// Value implements context.Context. It returns the inner context's value for key. Package context
// calls Value to find the inner context, so that a derived context needs no goroutine.
func (c *requestContext) Value(key any) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		return nil
	}
	return c.inner.Value(key)
}

// initLocked creates the inner context if it does not exist yet. The caller must hold mu.
func (c *requestContext) initLocked() {
	if c.inner != nil {
		return
	}
	c.inner, c.cancel = context.WithDeadline(context.Background(), c.deadline)
	if c.ended {
		c.cancel()
	}
}

// end ends the context. It is called when the handler has returned.
func (c *requestContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
}
