package lazyctx

import (
	"context"
	"sync/atomic"
	"time"
)

// Timeout is a context that ends a fixed time after the first call to Deadline or Done. It limits
// the time for publishing a response. A bus calls Done only if it has to wait, so usually no timer
// is created.
//
// A Timeout has no parent, because a response is published even if its request has expired or its
// server is closing. All methods are safe for concurrent use. Cancel must be called after the last
// use.
type Timeout struct {
	// Limit is the time from the first use to the deadline. It must be set before the first use.
	Limit time.Duration

	inner atomic.Pointer[deadlineContext] // nil until the first use
}

// init returns the inner context, creating it on first use.
func (t *Timeout) init() *deadlineContext {
	if inner := t.inner.Load(); inner != nil {
		return inner
	}
	inner := newDeadlineContext(context.Background(), time.Now().Add(t.Limit))
	if !t.inner.CompareAndSwap(nil, inner) { // another goroutine has already set inner
		inner.cancel()
	}
	return t.inner.Load()
}

// Deadline returns the time at which the context ends. The time is fixed by the first call to
// Deadline or Done.
func (t *Timeout) Deadline() (time.Time, bool) { return t.init().Deadline() }

// Done returns a channel that is closed when the context ends.
func (t *Timeout) Done() <-chan struct{} { return t.init().Done() }

// Err returns nil until the context ends. After that it returns context.DeadlineExceeded or
// context.Canceled. Before the first call to Deadline or Done, the time has not started, so Err
// returns nil.
func (t *Timeout) Err() error {
	if inner := t.inner.Load(); inner != nil {
		return inner.Err()
	}
	return nil
}

// Value returns nil for all keys except those that the context package uses internally. It passes
// the key to the inner context, if there is one, so that the context package can attach child
// contexts directly to the inner context.
func (t *Timeout) Value(key any) any {
	if inner := t.inner.Load(); inner != nil {
		return inner.Value(key)
	}
	return nil
}

// Cancel ends the context and releases its timer. It does nothing if neither Deadline nor Done has
// been called.
func (t *Timeout) Cancel() {
	if inner := t.inner.Load(); inner != nil {
		inner.cancel()
	}
}
