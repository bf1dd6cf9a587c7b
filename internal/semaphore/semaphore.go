package semaphore

import "sync/atomic"

// Semaphore bounds how many run at the same time.
type Semaphore struct {
	Max     int64 // 0: no limit
	running atomic.Int64
}

// TryAcquire reports whether there is room; whoever entered must leave.
func (l *Semaphore) TryAcquire() bool {
	if l.Max == 0 || l.running.Add(1) <= l.Max {
		return true
	}
	l.running.Add(-1)
	return false
}

// Full tells whether there is no room at the moment.
func (l *Semaphore) Full() bool { return l.Max != 0 && l.running.Load() >= l.Max }

func (l *Semaphore) Release() {
	if l.Max != 0 {
		l.running.Add(-1)
	}
}
