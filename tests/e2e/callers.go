package e2e

import (
	"context"
	"sync"
	"testing"
)

// callers is a group of goroutines that each make calls in a loop until stop.
type callers struct {
	life    context.Context //nolint:containedctx // ends all callers
	end     context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	calls    int
	failures []error
	// target is the number of calls at which reached is closed. reached is nil without a waiter.
	target  int
	reached chan struct{}
}

// startCallers starts count callers. They end with the test at the latest.
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

// wait returns when at least count more calls have completed. Only one goroutine may wait at a
// time.
func (c *callers) wait(t testing.TB, count int) {
	t.Helper()
	reached := make(chan struct{})
	c.mu.Lock()
	c.target, c.reached = c.calls+count, reached
	c.mu.Unlock()
	soon(t, reached, "progress of the callers")
}

// stop ends the callers and returns the number of calls and the errors of the failed ones.
func (c *callers) stop() (calls int, failures []error) {
	c.end()
	c.running.Wait()
	return c.calls, c.failures
}
