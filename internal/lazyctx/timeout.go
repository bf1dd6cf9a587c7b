package lazyctx

import (
	"context"
	"sync/atomic"
	"time"
)

// Timeout is a context that ends a fixed time after the first call of Deadline or Done. It bounds
// the publication of a response: a bus calls Done only if it has to wait, so an idle bus costs no
// timer.
//
// A Timeout has no parent. A response is published even if its request has expired or its server is
// closing. All methods may be called concurrently. Cancel must be called after the last use.
type Timeout struct {
	// Limit is the time from the first use to the deadline. It must be set before the first use.
	Limit time.Duration

	inner atomic.Pointer[deadlineContext] // nil before the first use
}

// init returns the inner context and creates it on first use.
func (t *Timeout) init() *deadlineContext {
	if inner := t.inner.Load(); inner != nil {
		return inner
	}
	inner := newDeadlineContext(context.Background(), time.Now().Add(t.Limit))
	if !t.inner.CompareAndSwap(nil, inner) { // another goroutine was faster
		inner.cancel()
	}
	return t.inner.Load()
}

// Deadline returns the time at which the context ends. The first call of Deadline or Done sets it.
func (t *Timeout) Deadline() (time.Time, bool) { return t.init().Deadline() }

// Done returns a channel that is closed when the context ends.
func (t *Timeout) Done() <-chan struct{} { return t.init().Done() }

// Err returns nil until the context ends, then context.DeadlineExceeded or context.Canceled. It is
// nil as long as neither Deadline nor Done was called.
func (t *Timeout) Err() error {
	if inner := t.inner.Load(); inner != nil {
		return inner.Err()
	}
	return nil
}

// Value returns nil for keys of users, as there is no parent. It asks the inner context, if there
// is one, so that the context package can attach children to it directly.
func (t *Timeout) Value(key any) any {
	if inner := t.inner.Load(); inner != nil {
		return inner.Value(key)
	}
	return nil
}

// Cancel ends the context and releases its timer. It does nothing if the context was never used.
func (t *Timeout) Cancel() {
	if inner := t.inner.Load(); inner != nil {
		inner.cancel()
	}
}
