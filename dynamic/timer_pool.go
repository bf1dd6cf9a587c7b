package dynamic

import (
	"sync"
	"time"
)

// timerPool keeps stopped timers to be used again: each call needs one, and few run out. It belongs to a conn,
// since timers made in a testing/synctest bubble must stay in it.
type timerPool struct{ stopped sync.Pool }

// start returns a timer that fires after d. Give it back with stop.
func (p *timerPool) start(d time.Duration) *time.Timer {
	if t, ok := p.stopped.Get().(*time.Timer); ok {
		t.Reset(d)
		return t
	}
	return time.NewTimer(d)
}

// stop takes a timer back. Its channel must not be used any more.
func (p *timerPool) stop(t *time.Timer) {
	t.Stop()
	p.stopped.Put(t)
}
