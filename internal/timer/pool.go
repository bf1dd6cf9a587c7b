package timer

import (
	"sync"
	"time"
)

// Pool keeps stopped timers for reuse. The zero value is an empty pool. All methods may be called
// concurrently.
//
// A Pool belongs to a conn instead of the process: a timer that was made in a testing/synctest
// bubble must not be used outside of it.
type Pool struct{ stopped sync.Pool }

// Start returns a timer that fires after d. The caller must pass it to Stop when it is no longer
// needed, fired or not.
func (p *Pool) Start(d time.Duration) *time.Timer {
	if t, ok := p.stopped.Get().(*time.Timer); ok {
		t.Reset(d)
		return t
	}
	return time.NewTimer(d)
}

// Stop stops t and takes it back. The caller must not use t or its channel afterwards. Since Go
// 1.23 a stopped or reset timer delivers no stale time, so the channel need not be drained.
func (p *Pool) Stop(t *time.Timer) {
	t.Stop()
	p.stopped.Put(t)
}
