package timer

import (
	"sync"
	"time"
)

// Pool keeps stopped timers to be used again: each call needs one, and few run out. It belongs to a conn,
// since timers made in a testing/synctest bubble must stay in it.
type Pool struct{ stopped sync.Pool }

// Start returns a timer that fires after d. Give it back with stop.
func (p *Pool) Start(d time.Duration) *time.Timer {
	if t, ok := p.stopped.Get().(*time.Timer); ok {
		t.Reset(d)
		return t
	}
	return time.NewTimer(d)
}

// Stop takes a timer back. Its channel must not be used any more.
func (p *Pool) Stop(t *time.Timer) {
	t.Stop()
	p.stopped.Put(t)
}
