package explorer

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// limit is a semaphore that limits the number of things of one kind, such as taps.
type limit chan struct{}

func newLimit(n int) limit { return make(limit, n) }

// acquire takes one of the permitted places. If none is free, it returns an error. what names the
// limited things in that error, such as "taps".
func (l limit) acquire(what string) (release func(), err error) {
	select {
	case l <- struct{}{}:
		return func() { <-l }, nil
	default:
		return nil, errors.NewErrorf(errors.ResourceExhausted, "the explorer has too many %s, at most %d", what, cap(l))
	}
}

// tasks counts the running tasks that Close waits for. It is safe for concurrent use.
type tasks struct {
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
}

// start counts a new task, which must call done at its end. After close, it returns false instead.
func (t *tasks) start() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.running.Add(1)
	}
	return !t.closed
}

func (t *tasks) done() { t.running.Done() }

// run runs a function on a new goroutine. After close, it returns false instead.
func (t *tasks) run(f func()) bool {
	if !t.start() {
		return false
	}
	go func() { // The method close waits for this goroutine.
		defer t.done()
		f()
	}()
	return true
}

// close waits for all tasks. No further tasks can start.
func (t *tasks) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.running.Wait()
}

var errClosed = errors.NewErrorf(errors.Unavailable, "the explorer is closed")
