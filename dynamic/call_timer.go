package dynamic

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// noDeadline is the deadline of a callTimer without a call.
const noDeadline = math.MinInt64

// maxTimerDuration bounds how long the timer keeps running after a call with a long timeout has
// ended, and thus how long it keeps an unused inbox from being garbage collected.
const maxTimerDuration = time.Minute

// callTimer reports that the deadline of a call has passed. It is reused with its inbox.
//
// The underlying timer keeps running when a call ends, and the next call finds it armed: most calls
// end long before their deadline, so a timer that is set once serves many calls in turn. With a new
// time.AfterFunc for each call, calls take 1.08 times as long and 2 more allocations.
//
// All times are in nanoseconds since epoch.
type callTimer struct {
	epoch time.Time // with a monotonic clock reading; never changed
	// onDeadline is called by fire, on the goroutine of the underlying timer. It is never changed.
	onDeadline func(deadline int64)
	// deadline is the deadline of the current call, or noDeadline.
	deadline atomic.Int64
	// armed is true if the underlying timer is set and fire will look at deadline.
	armed atomic.Bool
	// nextFire is the earliest time at which an armed timer fires.
	nextFire atomic.Int64

	mu    sync.Mutex // held while the underlying timer is set
	timer *time.Timer
}

// start begins a call that started at now and has its deadline d later.
//
// start stores deadline before it loads armed, and fire clears armed before it loads deadline.
// Therefore either fire sees the new deadline, or start sees that it must set the timer.
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

// stop ends the call. If the timer is firing at this moment, onDeadline may still be called with
// the call's deadline, by which the inbox recognizes a report for an earlier call.
func (t *callTimer) stop() { t.deadline.Store(noDeadline) }

// setLocked sets the underlying timer for a deadline that is d from now. For a deadline further
// away than maxTimerDuration the timer fires earlier, and fire sets it again.
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

// fire calls onDeadline if the deadline of the current call has passed. Otherwise it sets the timer
// again, or leaves it unset if there is no call.
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
