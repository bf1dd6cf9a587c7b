package serve

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

// minAnnounceAfter is the shortest time after which a server announces that it is handling a
// request. It limits how many announcements a client can cause.
const minAnnounceAfter = 10 * time.Millisecond

// announcer tells clients that the server is still handling those of their requests that take long.
// A client that gets no message within its selection timeout assumes that the request is lost. Most
// handlers end long before that, so requests have no timers of their own. A single timer makes the
// announcer search the running requests.
//
// All times are in nanoseconds since the time in the field epoch.
type announcer struct {
	running *runningRequests
	workers *lifecycle.WorkerPool[task]
	// epoch is the time from which all times are measured. It is immutable and has a monotonic
	// clock reading.
	epoch time.Time
	// next is the time at which the timer fires, or noAnnouncement if the timer is not set.
	next atomic.Int64

	// mu guards timer and must be held to modify next.
	mu    sync.Mutex
	timer *time.Timer
}

// deadline returns the time at which the server must announce that it is still handling a request.
// now is the time at which the request arrived. announceAfter is in milliseconds.
func (a *announcer) deadline(now time.Time, announceAfter uint32) int64 {
	after := max(time.Duration(announceAfter)*time.Millisecond, minAnnounceAfter)
	return a.since(now) + int64(after)
}

// since returns the time from a.epoch to the time at, in nanoseconds.
func (a *announcer) since(at time.Time) int64 { return int64(at.Sub(a.epoch)) }

// expect makes the timer fire no later than at the time at. The request to announce must already be
// among the running requests. The method fire clears next before it looks at the running requests.
// Either fire therefore sees the request, or expect sees that it must set the timer.
func (a *announcer) expect(at int64) {
	if a.next.Load() <= at {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setLocked(at)
}

// setLocked sets the timer to fire at the time at, unless it is set to an earlier time. The caller
// must hold mu.
func (a *announcer) setLocked(at int64) {
	if a.next.Load() <= at {
		return
	}
	a.next.Store(at)
	d := time.Duration(at) - time.Since(a.epoch)
	if a.timer == nil {
		a.timer = time.AfterFunc(d, a.fire)
	} else {
		a.timer.Reset(d)
	}
}

// fire announces the requests that have been running for too long, and sets the timer for the next
// ones. It must not block, so workers publish the announcements.
func (a *announcer) fire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next.Store(noAnnouncement)
	now := int64(time.Since(a.epoch))
	next := a.running.takeUnannounced(now, func(announcement task) { a.workers.Go(announcement) })
	if next != noAnnouncement {
		// The timer waits for at least minAnnounceAfter, because each call to fire goes through all
		// running requests.
		a.setLocked(max(next, now+int64(minAnnounceAfter)))
	}
}
