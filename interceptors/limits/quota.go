package limits

import (
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// quota limits how many calls are admitted.
type quota interface {
	// tryAcquire admits one call and returns true, or returns false and the time to wait before
	// retrying.
	tryAcquire() (retryAfter time.Duration, ok bool)
	// release must be called once for each successful tryAcquire, when the admitted call ends.
	release()
}

// semaphore limits the number of calls in progress.
type semaphore struct {
	limit int64
	used  atomic.Int64
}

func (s *semaphore) tryAcquire() (retryAfter time.Duration, ok bool) {
	if s.used.Add(1) <= s.limit || s.limit <= 0 {
		return 0, true
	}
	s.used.Add(-1)
	return 0, false
}

func (s *semaphore) release() { s.used.Add(-1) }

// tokenBucket limits the number of calls per second.
type tokenBucket struct{ *rate.Limiter }

func (b tokenBucket) tryAcquire() (retryAfter time.Duration, ok bool) {
	reservation := b.Reserve()
	if retryAfter = reservation.Delay(); retryAfter > 0 {
		reservation.Cancel()
		return retryAfter, false
	}
	return 0, true
}

func (tokenBucket) release() {}
