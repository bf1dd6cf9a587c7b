package semaphore

import "sync/atomic"

// Semaphore limits the number of operations that run at the same time. The zero value has no limit.
// All methods may be called concurrently.
type Semaphore struct {
	// Max is the maximum number of operations; zero means no limit. It must not change after the
	// first TryAcquire.
	Max int64

	running atomic.Int64 // not counted without a limit
}

// TryAcquire reports whether another operation may run. If it returns true, Release must be called
// when the operation has ended.
func (s *Semaphore) TryAcquire() bool {
	if s.Max == 0 || s.running.Add(1) <= s.Max {
		return true
	}
	s.running.Add(-1)
	return false
}

// Full reports whether TryAcquire would currently fail. The answer may be outdated when Full
// returns: it is a hint for servers that decline a request, not a reservation.
func (s *Semaphore) Full() bool { return s.Max != 0 && s.running.Load() >= s.Max }

// Release ends an operation for which TryAcquire returned true.
func (s *Semaphore) Release() {
	if s.Max != 0 {
		s.running.Add(-1)
	}
}
