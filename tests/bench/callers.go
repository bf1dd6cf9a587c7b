package main

import (
	"sync"
	"time"
)

// callers returns a [load] that runs each of the operations in a loop in its own goroutine. An
// operation must return an error if it receives a wrong response.
func callers(operations []func() error) load {
	workers := make([]caller, len(operations))
	for i, operation := range operations {
		workers[i].operation = operation
	}
	var all histogram
	return func(until time.Time) tally {
		start := time.Now()
		var running sync.WaitGroup
		for i := range workers {
			// The call to running.Wait below waits until this goroutine has ended.
			running.Go(func() { workers[i].work(until) })
		}
		running.Wait()

		result := tally{elapsed: time.Since(start), latency: &all}
		all = histogram{}
		for i := range workers {
			c := &workers[i]
			all.merge(&c.latency)
			result.failed += c.failed
			if result.err == nil {
				result.err = c.err
			}
		}
		result.completed = all.total
		return result
	}
}

// caller runs one operation in a loop and records its latencies and errors. It does not allocate.
type caller struct {
	operation func() error
	latency   histogram
	failed    uint64
	err       error
}

// work runs the operation in a loop until the given time. The operation runs at least once.
func (c *caller) work(until time.Time) {
	c.latency, c.failed, c.err = histogram{}, 0, nil
	start := time.Now()
	for first := true; first || start.Before(until); first = false {
		err := c.operation()
		now := time.Now()
		if err != nil {
			c.failed++
			if c.err == nil {
				c.err = err
			}
		} else {
			c.latency.add(now.Sub(start))
		}
		start = now
	}
}

// perCaller returns one operation for each of n callers. It creates an operation by calling
// newOperation with the index of the caller.
func perCaller(n int, newOperation func(caller int) func() error) []func() error {
	operations := make([]func() error, n)
	for i := range operations {
		operations[i] = newOperation(i)
	}
	return operations
}
