package load

import (
	"runtime"
	"time"
)

// minSleep is the shortest remaining time in which an open loop still sleeps. If less time is left,
// it spins, because waking up takes about as long as that.
const minSleep = 100 * time.Microsecond

// stopCheck is the longest time for which an open loop sleeps before it checks whether it was
// stopped.
const stopCheck = 50 * time.Millisecond

// sleepUntil waits until the time at. It returns false if the run is stopped first. It sleeps until
// shortly before that time and then spins, because a sleep always ends a little late.
func (r *run) sleepUntil(at time.Time) bool {
	for !r.stopped.Load() {
		switch left := time.Until(at); {
		case left <= 0:
			return true
		case left < minSleep:
			runtime.Gosched()
		default:
			sleep(min(left-minSleep/2, stopCheck))
		}
	}
	return false
}
