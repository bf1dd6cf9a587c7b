package clockskew

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Tolerance is the difference of two clocks, or the delay of a frame, that callers ignore: such
	// a frame is treated as sent by an exact clock and delivered without delay. It is well above
	// usual transit times and the precision of NTP, and below common timeouts.
	Tolerance = 500 * time.Millisecond
	// suspectTolerance is the largest difference between the delays of two frames that count as
	// equal when a suspected skew is confirmed.
	suspectTolerance = 50 * time.Millisecond
	// minSuspectInterval is the time that must lie between the sending of two frames that confirm a
	// skew. It exceeds suspectTolerance, so that frames that a bus held up and delivered together
	// have delays that differ by more than the tolerance.
	minSuspectInterval = 4 * suspectTolerance
	// windowSize is the length of a window of the minimum filter. Delays are forgotten after at
	// most two windows; a peer's clock that was corrected is measured anew by then.
	windowSize = time.Minute
)

// Offset is the estimated offset of one peer's clock. The zero value knows nothing. All methods may
// be called concurrently; the times that are passed as now are those of the local clock.
//
// The minimum is taken over the current and the previous window of a minute each: it can rise again
// after a change of either clock, and the start of a window does not discard it.
type Offset struct {
	mu                sync.Mutex
	current, previous window
	warned            bool

	// suspectSent and suspectDelay describe the first frame of a suspected skew, see
	// ConfirmSuspect. suspectSent is zero if there is none.
	suspectSent  time.Time
	suspectDelay time.Duration

	// publishedMin and publishedUntil repeat the minimum and the end of the current window, so that
	// Observe needs no lock in the usual case that a delay is not a new minimum.
	publishedMin   atomic.Int64 // nanoseconds
	publishedUntil atomic.Int64 // Unix time in nanoseconds
}

// window is the minimum delay within one windowSize.
type window struct {
	start time.Time // zero if no delay was observed
	min   time.Duration
}

// MinDelay returns the minimum delay observed within the last one to two minutes. It is positive if
// the peer's clock is slow. known is false if no delay was observed in that time.
func (o *Offset) MinDelay(now time.Time) (minimum time.Duration, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rotateLocked(now)
	switch {
	case o.current.start.IsZero():
		return o.previous.min, !o.previous.start.IsZero()
	case o.previous.start.IsZero():
		return o.current.min, true
	default:
		return min(o.current.min, o.previous.min), true
	}
}

// Observe adds the delay of a frame that is known to be fresh.
func (o *Offset) Observe(now time.Time, delay time.Duration) {
	if now.UnixNano() < o.publishedUntil.Load() && int64(delay) >= o.publishedMin.Load() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rotateLocked(now)
	if o.current.start.IsZero() {
		o.current = window{start: now, min: delay}
	}
	o.current.min = min(o.current.min, delay)
	o.publishLocked()
}

// rotateLocked starts a new window if the current one has ended, and drops windows that are too
// old.
func (o *Offset) rotateLocked(now time.Time) {
	if !o.current.start.IsZero() && now.Sub(o.current.start) >= windowSize {
		o.previous, o.current = o.current, window{}
		// If the local clock was set back, publishedUntil lies in the future. Without the reset
		// Observe would ignore all delays until then.
		o.publishedUntil.Store(0)
	}
	if now.Sub(o.previous.start) >= 2*windowSize {
		o.previous = window{}
	}
}

// publishLocked makes the current window visible to Observe.
func (o *Offset) publishLocked() {
	o.publishedMin.Store(int64(o.current.min))
	o.publishedUntil.Store(o.current.start.Add(windowSize).UnixNano())
}

// ConfirmSuspect takes a frame that seems to be late, with the time of its sending by the peer's
// clock, and reports whether it proves that the clock is off instead.
//
// The first such frame is stored as the suspect. A later frame confirms it if it was sent at least
// 200 ms after the suspect and its delay is the same within 50 ms. A frame with another delay, or
// one that was sent before the suspect, becomes the new suspect. After a confirmation the delay
// replaces everything that was observed before.
func (o *Offset) ConfirmSuspect(now, sent time.Time, delay time.Duration) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	interval, difference := sent.Sub(o.suspectSent), (delay - o.suspectDelay).Abs()
	if o.suspectSent.IsZero() || difference > suspectTolerance || interval < 0 {
		o.suspectSent, o.suspectDelay = sent, delay
		return false
	}
	if interval < minSuspectInterval {
		return false
	}
	o.suspectSent = time.Time{}
	o.previous, o.current = window{}, window{start: now, min: delay}
	o.publishLocked()
	return true
}

// FirstWarning returns true on its first call only, so that a caller logs the skew of a peer once.
func (o *Offset) FirstWarning() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	first := !o.warned
	o.warned = true
	return first
}
