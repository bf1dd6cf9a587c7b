package timer

import (
	"sync"
	"time"
)

// Pool is a set of stopped timers that can be reused. The zero value is an empty pool. All methods
// are safe for concurrent use.
//
// Each conn has its own Pool. A pool shared by the whole process would not work in tests, because a
// timer that was created in a testing/synctest bubble must not be used outside that bubble.
type Pool struct{ stopped sync.Pool }

// Start returns a timer that fires after d. The caller must pass the timer to Stop when it is no
// longer needed, even if it has fired.
func (p *Pool) Start(d time.Duration) *time.Timer {
	if t, ok := p.stopped.Get().(*time.Timer); ok {
		t.Reset(d)
		return t
	}
	return time.NewTimer(d)
}

// Stop stops t and returns it to the pool. The caller must not use t or its channel afterwards.
// Since Go 1.23, no stale value is received after a timer has been stopped or reset, so Stop need
// not drain the channel.
func (p *Pool) Stop(t *time.Timer) {
	t.Stop()
	p.stopped.Put(t)
}
