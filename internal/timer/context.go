package timer

import (
	"context"
	"time"
)

// expiredError is the cancellation cause of a WithTimeout context whose countdown has expired.
type expiredError struct{}

func (expiredError) Error() string { return "the countdown has expired" }

// WithTimeout is like [context.WithTimeout], but the timeout is that of a [Countdown]: it measures
// the time in which this process runs.
func WithTimeout(parent context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	deadline := time.Now().Add(timeout)
	if earlier, ok := parent.Deadline(); ok && earlier.Before(deadline) {
		deadline = earlier
	}
	ctx, cancel := context.WithCancelCause(parent)
	countdown := NewCountdown(timeout, func() { cancel(expiredError{}) })
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
	if err != nil && context.Cause(c.Context) == (expiredError{}) { //nolint:errorlint // identity is intended
		return context.DeadlineExceeded
	}
	return err
}
