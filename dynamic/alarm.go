package dynamic

import (
	"sync"
	"sync/atomic"
	"time"
)

// alarm tells a call that its time is up.
type alarm struct {
	timer *time.Timer
	call  atomic.Pointer[newsBox]
}

func (a *alarm) ring() {
	if call := a.call.Load(); call != nil {
		call.expired()
	}
}

// alarmPool keeps alarms that did not ring: each call needs one, and few ring. It belongs to a conn, since timers made
// in a testing/synctest bubble must stay in it.
type alarmPool struct{ unused sync.Pool }

// start returns an alarm that rings after d. Give it back with stop.
func (p *alarmPool) start(call *newsBox, d time.Duration) *alarm {
	a, ok := p.unused.Get().(*alarm)
	if !ok {
		a = &alarm{}
		a.call.Store(call)
		a.timer = time.AfterFunc(d, a.ring)
		return a
	}
	a.call.Store(call)
	a.timer.Reset(d)
	return a
}

// stop takes an alarm back. One that rings at this moment is not used again: it might ring for another call.
func (p *alarmPool) stop(a *alarm) {
	if a.timer.Stop() {
		a.call.Store(nil)
		p.unused.Put(a)
	}
}
