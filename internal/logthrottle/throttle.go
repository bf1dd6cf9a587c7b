package logthrottle

import (
	"sync/atomic"
	"time"
)

// Throttle limits how often one problem is reported. The zero value is ready to use. A Throttle is
// safe for concurrent use.
type Throttle struct {
	// occurrences counts the occurrences since the last report.
	occurrences atomic.Uint64
	// muted is set by a report and cleared by a timer after the interval. Allow therefore needs no
	// lock and does not read the clock. When a full subscription drops an update, reading the clock
	// would take longer than all other work.
	muted atomic.Bool
}

// Allow counts an occurrence of the problem and decides whether to report it. If it must be
// reported, ok is true, and count is the number of occurrences since the last report, including
// this one. Further occurrences are not reported until interval has passed.
func (t *Throttle) Allow(interval time.Duration) (count uint64, ok bool) {
	t.occurrences.Add(1)
	if t.muted.Load() || !t.muted.CompareAndSwap(false, true) {
		return 0, false
	}
	time.AfterFunc(interval, func() { t.muted.Store(false) })
	return t.occurrences.Swap(0), true
}
