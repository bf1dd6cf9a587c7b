package timer

import (
	"sync"
	"time"
)

// Pool is a set of stopped timers that can be reused. The zero value is an empty pool. All methods
// are safe for concurrent use.
//
// Each Conn of package dynamic has its own Pool. A single Pool for the whole process would not work
// in tests: a timer created in a testing/synctest bubble must not be used outside that bubble.
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
// Since Go 1.23, a timer's channel contains no old value after the timer has been stopped or reset.
// Stop therefore need not drain the channel.
func (p *Pool) Stop(t *time.Timer) {
	t.Stop()
	p.stopped.Put(t)
}
