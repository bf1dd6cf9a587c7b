package dynamic

import (
	"sync"
	"time"
)

// timers are stopped timers to be used again: each call needs one, and few run out.
var timers = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}}

// startTimer returns a timer that fires after d. Give it back with stopTimer.
func startTimer(d time.Duration) *time.Timer {
	t := timers.Get().(*time.Timer)
	t.Reset(d)
	return t
}

// stopTimer takes a timer back. Its channel must not be used any more.
func stopTimer(t *time.Timer) {
	t.Stop()
	timers.Put(t)
}
