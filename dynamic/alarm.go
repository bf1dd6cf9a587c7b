package dynamic

import (
	"sync"
	"sync/atomic"
	"time"
)

// alarm tells a call that its time is up. Its timer goes on when the call has ended, for the next call: most take less time
// than they have, and setting timers takes long.
type alarm struct {
	call  atomic.Pointer[newsBox] // nil: there is none
	armed atomic.Bool             // the timer will fire, and ring will look at the call
	fires atomic.Int64            // when, at the earliest, in nanoseconds since the pool's epoch
	epoch time.Time               // the pool's

	mu    sync.Mutex // held by whoever sets the timer
	timer *time.Timer
}

// watch lets a call be told of its end, which is in so long. ring looks whether there is a call after it has taken back that
// the alarm is armed; so either it sees the call, or it is seen here that the timer must be set.
func (a *alarm) watch(call *newsBox, d time.Duration) {
	a.call.Store(call)
	if a.armed.Load() && a.fires.Load() <= call.ends {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setLocked(call.ends, d)
}

func (a *alarm) setLocked(ends int64, d time.Duration) {
	a.fires.Store(ends)
	a.armed.Store(true)
	if a.timer == nil {
		a.timer = time.AfterFunc(d, a.ring)
	} else {
		a.timer.Reset(d)
	}
}

// ring tells the call, if its time is up, or else sets the timer anew.
func (a *alarm) ring() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.armed.Store(false)
	call := a.call.Load()
	if call == nil {
		return
	}
	if left := time.Duration(call.ends) - time.Since(a.epoch); left > 0 {
		a.setLocked(call.ends, left)
		return
	}
	call.expired()
}

// alarmPool keeps alarms to be used again. It belongs to a conn, since timers made in a testing/synctest bubble must stay in
// it.
type alarmPool struct {
	unused sync.Pool
	epoch  time.Time // what times count from, by the monotonic clock; must be set
}

// start returns an alarm that rings after d, from now. Give it back with stop.
func (p *alarmPool) start(call *newsBox, now time.Time, d time.Duration) *alarm {
	a, ok := p.unused.Get().(*alarm)
	if !ok {
		a = &alarm{epoch: p.epoch}
	}
	call.ends = int64(now.Sub(p.epoch) + d)
	a.watch(call, d)
	return a
}

// stop takes an alarm back. If it rings at this moment the call is told what it does not want to know any more.
func (p *alarmPool) stop(a *alarm) {
	a.call.Store(nil)
	p.unused.Put(a)
}
