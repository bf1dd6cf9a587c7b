package dynamic

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// noEnd is the end that an alarm knows as long as it has no call.
const noEnd = math.MinInt64

// maxAlarmTimer bounds how long a timer goes on when its call has ended, and with it the memory of a box that nobody uses
// again.
const maxAlarmTimer = time.Minute

// alarm tells a call that its time is up. Its timer goes on when the call has ended, for the next call: most take less time
// than they have, and setting timers takes long. Times are in nanoseconds since the epoch.
type alarm struct {
	epoch   time.Time        // by the monotonic clock; never changed
	expired func(ends int64) // tells the call that should end then; never changed
	ends    atomic.Int64     // when the call's time is up; noEnd: there is no call
	armed   atomic.Bool      // the timer will fire, and ring will look at the call
	fires   atomic.Int64     // when, at the earliest

	mu    sync.Mutex // held by whoever sets the timer
	timer *time.Timer
}

// start lets a call be told of its end, which is d from now. ring looks whether there is a call after it has taken back that
// the alarm is armed; so either it sees the call, or it is seen here that the timer must be set.
func (a *alarm) start(now time.Time, d time.Duration) {
	ends := int64(now.Sub(a.epoch) + d)
	a.ends.Store(ends)
	if a.armed.Load() && a.fires.Load() <= ends {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setLocked(ends, d)
}

// stop says that the call has ended. It may still be told, if the alarm rings at this moment, but no later call in its place.
func (a *alarm) stop() { a.ends.Store(noEnd) }

// setLocked sets the timer for a call that ends then, which is d from now. If that is long, ring sets it again.
func (a *alarm) setLocked(ends int64, d time.Duration) {
	if d > maxAlarmTimer {
		ends, d = ends-int64(d-maxAlarmTimer), maxAlarmTimer
	}
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
	ends := a.ends.Load()
	if ends == noEnd {
		return
	}
	if left := time.Duration(ends) - time.Since(a.epoch); left > 0 {
		a.setLocked(ends, left)
		return
	}
	a.expired(ends)
}
