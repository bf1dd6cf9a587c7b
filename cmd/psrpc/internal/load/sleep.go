package load

import (
	"runtime"
	"time"
)

// minSleep is the shortest time for which an open loop sleeps. Waking up takes about as long.
const minSleep = 100 * time.Microsecond

// stopCheck is how long an open loop sleeps at most before it checks whether it was stopped.
const stopCheck = 50 * time.Millisecond

// sleepUntil waits until the time at. It returns false if the run is stopped before. It sleeps until
// shortly before that time and then spins, so that operations do not all start late.
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
