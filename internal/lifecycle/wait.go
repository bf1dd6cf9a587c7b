package lifecycle

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/timer"
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
// closed. While this process is paused, limit does not pass; see [timer.Countdown].
func WaitAtMost(limit time.Duration, done <-chan struct{}) bool {
	ctx, cancel := timer.WithTimeout(context.Background(), limit)
	defer cancel()
	return Wait(ctx, done) == nil
}
