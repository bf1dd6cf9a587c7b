package limits

import (
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// quota lets in as much as there is room for.
type quota interface {
	// tryAcquire returns after what time to try again if there is no room.
	tryAcquire() (retryAfter time.Duration, ok bool)
	// release follows a successful enter.
	release()
}

// semaphore is how many there are inside.
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

// tokenBucket is how many have come.
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
