package dynamic

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// noDeadline is the end that an alarm knows as long as it has no call.
const noDeadline = math.MinInt64

// maxTimerDuration bounds how long a timer goes on when its call has ended, and with it the memory of a box that nobody uses
// again.
const maxTimerDuration = time.Minute

// callTimer tells a call that its time is up. Its timer goes on when the call has ended, for the next call: most take less time
// than they have, and setting timers takes long. Times are in nanoseconds since the epoch.
type callTimer struct {
	epoch      time.Time        // by the monotonic clock; never changed
	onDeadline func(ends int64) // tells the call that should end then; never changed
	deadline   atomic.Int64     // when the call's time is up; noDeadline: there is no call
	armed      atomic.Bool      // the timer will fire, and ring will look at the call
	nextFire   atomic.Int64     // when, at the earliest

	mu    sync.Mutex // held by whoever sets the timer
	timer *time.Timer
}

// start lets a call be told of its end, which is d from now. ring looks whether there is a call after it has taken back that
// the alarm is armed; so either it sees the call, or it is seen here that the timer must be set.
func (t *callTimer) start(now time.Time, d time.Duration) {
	deadline := int64(now.Sub(t.epoch) + d)
	t.deadline.Store(deadline)
	if t.armed.Load() && t.nextFire.Load() <= deadline {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.setLocked(deadline, d)
}

// stop says that the call has ended. It may still be told, if the alarm rings at this moment, but no later call in its place.
func (t *callTimer) stop() { t.deadline.Store(noDeadline) }

// setLocked sets the timer for a call that ends then, which is d from now. If that is long, ring sets it again.
func (t *callTimer) setLocked(deadline int64, d time.Duration) {
	if d > maxTimerDuration {
		deadline, d = deadline-int64(d-maxTimerDuration), maxTimerDuration
	}
	t.nextFire.Store(deadline)
	t.armed.Store(true)
	if t.timer == nil {
		t.timer = time.AfterFunc(d, t.fire)
	} else {
		t.timer.Reset(d)
	}
}

// fire tells the call, if its time is up, or else sets the timer anew.
func (t *callTimer) fire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.armed.Store(false)
	deadline := t.deadline.Load()
	if deadline == noDeadline {
		return
	}
	if remaining := time.Duration(deadline) - time.Since(t.epoch); remaining > 0 {
		t.setLocked(deadline, remaining)
		return
	}
	t.onDeadline(deadline)
}
