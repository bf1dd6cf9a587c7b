package lifecycle

import (
	"context"
	"time"
)

// CloseGrace is how much longer [WaitWithGrace] waits after its context has ended. A working bus
// needs less time to end a subscription. A function that closes something therefore succeeds even
// if its context ends while the bus is still ending the subscriptions.
const CloseGrace = 100 * time.Millisecond

// Wait waits until done is closed or ctx ends. It returns nil if done is closed, even if ctx has
// ended too, and otherwise the error of ctx.
func Wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	default:
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// WaitWithGrace waits until done is closed. If ctx ends first, WaitWithGrace waits for [CloseGrace]
// longer. If done is still open then, it returns the error of ctx.
func WaitWithGrace(ctx context.Context, done <-chan struct{}) error {
	if err := Wait(ctx, done); err != nil && !WaitAtMost(CloseGrace, done) {
		return err
	}
	return nil
}

// WaitAtMost waits until done is closed, but no longer than limit. It reports whether done is
// closed.
func WaitAtMost(limit time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
