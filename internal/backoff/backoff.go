package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff computes pauses that double from Min to Max. Both must be positive. A Backoff has no
// state, so it is safe for concurrent use.
type Backoff struct {
	// Min is the pause after the first failed attempt.
	Min time.Duration
	// Max is the upper limit of all pauses.
	Max time.Duration
}

// Pause returns the pause after the given number of failed attempts, which is at least 1.
func (b Backoff) Pause(attempts int) time.Duration {
	pause := b.Min
	for ; attempts > 1 && pause < b.Max; attempts-- {
		pause *= 2
	}
	return min(pause, b.Max)
}

// Jittered is like Pause, but shortens the pause at random, by up to half of it.
func (b Backoff) Jittered(attempts int) time.Duration {
	half := b.Pause(attempts) / 2
	return half + rand.N(half+1) //nolint:gosec // jitter is not secret
}

// Sleep waits for the given time and returns true. If ctx ends first, Sleep returns false at once.
func Sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
