package dynamic

import (
	"sync"
	"time"
)

// logInterval is the minimum time between two log lines of a logThrottle.
const logInterval = time.Second

// logThrottle combines frequent occurrences of a problem into at most one log line per logInterval.
// It is safe for concurrent use. The zero value is ready to use.
type logThrottle struct {
	mu sync.Mutex
	// suppressed counts the occurrences since the last line.
	suppressed uint64
	// next is the earliest time of the next line.
	next time.Time
}

// allow counts an occurrence and reports whether it may be logged. If so, count is the number of
// occurrences that the line represents.
func (l *logThrottle) allow(now time.Time) (count uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.suppressed++
	if now.Before(l.next) {
		return 0, false
	}
	count, l.suppressed, l.next = l.suppressed, 0, now.Add(logInterval)
	return count, true
}
