package e2e

import (
	"context"
	"sync"
	"testing"
)

// callers is a group of goroutines that each make calls in a loop until stop is called.
type callers struct {
	life    context.Context //nolint:containedctx // canceled to stop all callers
	end     context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	calls    int
	failures []error
	// target is the number of completed calls at which wait returns. reached is closed when this
	// number is reached. It is nil if no goroutine is waiting.
	target  int
	reached chan struct{}
}

// startCallers starts count callers. If the test does not stop them, they are stopped when it ends.
func startCallers(t testing.TB, count int, call func() error) *callers {
	t.Helper()
	c := &callers{}
	c.life, c.end = context.WithCancel(context.Background())
	for range count {
		// This goroutine ends before the method stop returns.
		c.running.Go(func() {
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

// wait waits until at least count more calls have completed. It fails the test if that takes too
// long. Only one goroutine may call wait at a time.
func (c *callers) wait(t testing.TB, count int) {
	t.Helper()
	reached := make(chan struct{})
	c.mu.Lock()
	c.target, c.reached = c.calls+count, reached
	c.mu.Unlock()
	soon(t, reached, "progress of the callers")
}

// stop stops the callers. It returns the total number of calls, and the errors of the calls that
// failed.
func (c *callers) stop() (calls int, failures []error) {
	c.end()
	c.running.Wait()
	return c.calls, c.failures
}
