package logthrottle

import (
	"sync"
	"time"
)

// Throttle limits how often one problem is reported. The zero value is ready to use. A Throttle is
// safe for concurrent use.
type Throttle struct {
	mu sync.Mutex
	// suppressed counts the occurrences since the last report.
	suppressed uint64
	// last is the time of the last report. It is zero if there has been none.
	last time.Time
}

// Allow counts an occurrence of the problem and decides whether to report it. ok is true for the
// first occurrence, and for any occurrence that follows the last report by at least interval. In
// these cases, count is the number of occurrences since the last report, including this one.
func (t *Throttle) Allow(interval time.Duration) (count uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.suppressed++
	now := time.Now()
	if !t.last.IsZero() && now.Sub(t.last) < interval {
		return 0, false
	}
	count, t.suppressed, t.last = t.suppressed, 0, now
	return count, true
}
