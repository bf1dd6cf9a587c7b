package e2e

import (
	"context"
	"sync"
	"testing"
)

// callers call over and over, each on a goroutine of its own, until they are stopped.
type callers struct {
	life    context.Context //nolint:containedctx // of the callers
	end     context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	calls    int
	failures []error
	target   int           // calls that somebody waits for
	reached  chan struct{} // closed then; nil if nobody waits
}

// startCallers returns callers that end with the test, if they are not stopped before.
func startCallers(t testing.TB, count int, call func() error) *callers {
	t.Helper()
	c := &callers{}
	c.life, c.end = context.WithCancel(context.Background())
	for range count {
		c.running.Go(func() { // stop waits for it
			for c.life.Err() == nil {
				c.note(call())
			}
		})
	}
	t.Cleanup(func() { c.stop() })
	return c
}

func (c *callers) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if err != nil {
		c.failures = append(c.failures, err)
	}
	if c.reached != nil && c.calls >= c.target {
		close(c.reached)
		c.reached = nil
	}
}

// wait returns when so many more calls have ended, at least. One goroutine can wait at a time.
func (c *callers) wait(t testing.TB, count int) {
	t.Helper()
	reached := make(chan struct{})
	c.mu.Lock()
	c.target, c.reached = c.calls+count, reached
	c.mu.Unlock()
	soon(t, reached, "progress of the callers")
}

// stop ends the callers, and returns how many calls they made and the errors of those that failed.
func (c *callers) stop() (calls int, failures []error) {
	c.end()
	c.running.Wait()
	return c.calls, c.failures
}
