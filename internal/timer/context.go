package timer

import (
	"context"
	"time"
)

// WithTimeout is like [context.WithTimeout], but the timeout is that of a [Countdown]: it measures
// the time in which this process runs. When it expires, the cancellation cause is
// [context.DeadlineExceeded], in contexts that are derived from this one too. However, the Err
// method of such a context returns [context.Canceled].
func WithTimeout(parent context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	deadline := time.Now().Add(timeout)
	if earlier, ok := parent.Deadline(); ok && earlier.Before(deadline) {
		deadline = earlier
	}
	ctx, cancel := context.WithCancelCause(parent)
	countdown := NewCountdown(timeout, func() { cancel(context.DeadlineExceeded) })
	return &countdownContext{ctx, deadline}, func() {
		countdown.Stop()
		cancel(nil)
	}
}

// countdownContext is a context of WithTimeout.
type countdownContext struct {
	context.Context //nolint:containedctx // it is the parent

	deadline time.Time
}

// Deadline returns the time at which the context ends if the process is not paused.
func (c *countdownContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Err returns context.DeadlineExceeded when the countdown has expired.
func (c *countdownContext) Err() error {
	err := c.Context.Err()
	if err != nil && context.Cause(c.Context) == context.DeadlineExceeded { //nolint:errorlint // identity is intended
		return context.DeadlineExceeded
	}
	return err
}
