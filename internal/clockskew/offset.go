package clockskew

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Tolerance is the largest clock difference or frame delay that callers should ignore. A frame
	// within the tolerance is treated as if both clocks agreed and the frame had been delivered
	// instantly. The tolerance is well above usual transit times and the precision of NTP, and
	// below common timeouts.
	Tolerance = 500 * time.Millisecond
	// suspectTolerance is the largest difference between two delays that ConfirmSuspect treats as
	// equal.
	suspectTolerance = 50 * time.Millisecond
	// minSuspectInterval is the minimum time between the send times of two frames that together
	// confirm a clock skew. If two frames are sent this far apart, but the bus holds them up and
	// delivers them together, their delays differ by more than suspectTolerance. Such frames
	// therefore do not confirm a clock skew.
	minSuspectInterval = 4 * suspectTolerance
	// windowSize is the length of a time window. The estimate is the minimum delay in the current
	// and the previous window. If the peer's clock is corrected, the estimate is therefore right
	// again after at most two minutes.
	windowSize = time.Minute
)

// Offset is the estimated offset of one peer's clock. The zero value contains no observations. All
// methods are safe for concurrent use. Parameters named now contain the current time of the local
// clock.
//
// The estimate is the minimum delay in the current and the previous time window, each of which is
// one minute long. The estimate can thus rise again after either clock has been changed, and it is
// not lost when a new window starts.
type Offset struct {
	mu                sync.Mutex
	current, previous window
	warned            bool

	// suspectSent and suspectDelay are the send time and the delay of the frame that raised the
	// suspicion of a clock skew; see ConfirmSuspect. suspectSent is zero if no skew is suspected.
	suspectSent  time.Time
	suspectDelay time.Duration

	// publishedMin and publishedUntil are copies of the minimum and the end time of the current
	// window. They allow Observe to return without locking mu in the usual case, in which the delay
	// is not a new minimum.
	publishedMin   atomic.Int64 // nanoseconds
	publishedUntil atomic.Int64 // Unix time in nanoseconds
}

// window contains the minimum delay of the frames observed during one period of length windowSize.
type window struct {
	start time.Time // zero if no delay has been observed in this window
	min   time.Duration
}

// MinDelay returns the minimum delay observed in the last one to two minutes. The minimum is large
// if the peer's clock is slow, and negative if it is fast. known is false if no delay was observed
// in that time.
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

// Observe adds the delay of a frame that is known to have arrived promptly.
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

// rotateLocked starts a new window if the current one began at least windowSize ago. It discards
// the previous window if that window began at least 2*windowSize ago.
func (o *Offset) rotateLocked(now time.Time) {
	if !o.current.start.IsZero() && now.Sub(o.current.start) >= windowSize {
		o.previous, o.current = o.current, window{}
		// If the local clock was set back, publishedUntil may lie in the future. Until that time,
		// Observe would ignore all delays above the old minimum. publishedUntil is therefore reset.
		o.publishedUntil.Store(0)
	}
	if now.Sub(o.previous.start) >= 2*windowSize {
		o.previous = window{}
	}
}

// publishLocked copies the minimum and the end time of the current window to the fields that
// Observe reads without locking.
func (o *Offset) publishLocked() {
	o.publishedMin.Store(int64(o.current.min))
	o.publishedUntil.Store(o.current.start.Add(windowSize).UnixNano())
}

// ConfirmSuspect processes a frame that appears to be late. sent is the time at which the frame was
// sent according to the peer's clock. ConfirmSuspect reports whether the frame proves that the
// peer's clock is wrong.
//
// The first such frame is remembered as the suspect. A later frame confirms the clock skew under
// two conditions: it was sent at least 200 ms after the suspect, and the delays of the two frames
// differ by at most 50 ms. A frame whose delay differs by more, or that was sent before the
// suspect, becomes the new suspect. Once the skew is confirmed, the delay of the later frame
// replaces all earlier observations.
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
	o.replaceLocked(now, delay)
	return true
}

// Replace replaces all earlier observations with the delay of one frame. The caller must know that
// this frame arrived promptly and that its delay contradicts the earlier observations.
func (o *Offset) Replace(now time.Time, delay time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.replaceLocked(now, delay)
}

func (o *Offset) replaceLocked(now time.Time, delay time.Duration) {
	o.suspectSent = time.Time{}
	o.previous, o.current = window{}, window{start: now, min: delay}
	o.publishLocked()
}

// FirstWarning returns true only on its first call. Callers use it to log the clock skew of a peer
// only once.
func (o *Offset) FirstWarning() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	first := !o.warned
	o.warned = true
	return first
}
