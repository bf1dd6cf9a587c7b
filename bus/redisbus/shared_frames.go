package redisbus

import (
	"sync"
	"time"
)

// maxShareWaiting is the maximum number of queue frames of a session that wait for credit. If more
// frames arrive, their locks are requested at once.
const maxShareWaiting = 4096

// sharedFrames holds lock attempts of a session that have not been sent yet. Their frames wait for
// credit or for the end of their delay (see [share]). The oldest attempt comes first.
type sharedFrames struct {
	// wakeup holds a value if a frame has been added, or if a reply may have made credit available.
	wakeup chan struct{}

	// mu guards the fields below.
	mu      sync.Mutex
	waiting []lockAttempt
	// closed is set when the session has ended.
	closed bool
}

// wake wakes shareLoop.
func (f *sharedFrames) wake() { wakeUp(f.wakeup) }

// add adds an attempt. It returns false if the session has ended or too many frames are waiting.
func (f *sharedFrames) add(attempt lockAttempt) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || len(f.waiting) >= maxShareWaiting {
		return false
	}
	attempt.channel.share.waiting.Add(1)
	f.waiting = append(f.waiting, attempt)
	return true
}

// takeReady removes and returns the attempts that may be sent now. It also returns how long the
// oldest remaining attempt has to wait, or zero if none remains.
func (f *sharedFrames) takeReady(now time.Time) (ready []lockAttempt, wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rest := f.waiting[:0]
	for _, attempt := range f.waiting {
		ask, onCredit := attempt.channel.share.tryAsk(attempt.arrived, now)
		if !ask {
			rest = append(rest, attempt)
			continue
		}
		if onCredit {
			attempt.onCredit = f.wakeup
		}
		ready = append(ready, attempt)
	}
	// Let the garbage collector free the frames that no longer wait.
	clear(f.waiting[len(rest):])
	if f.waiting = rest; len(rest) > 0 {
		wait = max(rest[0].arrived.Add(shareDelay).Sub(now), time.Microsecond)
	}
	return ready, wait
}

// close finishes all waiting attempts with err. After that, add accepts no more attempts.
func (f *sharedFrames) close(err error) {
	f.mu.Lock()
	waiting := f.waiting
	f.waiting, f.closed = nil, true
	f.mu.Unlock()
	for _, attempt := range waiting {
		attempt.channel.share.waiting.Add(-1)
		attempt.finish(err)
	}
}
