package semaphore

import "sync/atomic"

// Semaphore limits the number of operations that run at the same time. The zero value imposes no
// limit. All methods are safe for concurrent use.
type Semaphore struct {
	// Max is the maximum number of operations that may run at the same time. Zero means no limit.
	// Max must not be changed after the first call to TryAcquire.
	Max int64

	running atomic.Int64 // number of running operations; always zero if Max is zero
}

// TryAcquire reports whether another operation may run. If it returns true, the caller must call
// Release when the operation has ended.
func (s *Semaphore) TryAcquire() bool {
	if s.Max == 0 || s.running.Add(1) <= s.Max {
		return true
	}
	s.running.Add(-1)
	return false
}

// Full reports whether TryAcquire would currently return false. The result may already be outdated
// when Full returns. Full helps a server decide whether to decline a request, but does not reserve
// capacity.
func (s *Semaphore) Full() bool { return s.Max != 0 && s.running.Load() >= s.Max }

// Release marks the end of an operation for which TryAcquire returned true.
func (s *Semaphore) Release() {
	if s.Max != 0 {
		s.running.Add(-1)
	}
}
