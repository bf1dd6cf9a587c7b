package clockskew

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Tolerance is how far a peer's clock may be off, or a frame delayed, before it matters.
	Tolerance = 500 * time.Millisecond
	// suspectTolerance is how much the lags of frames may differ whose sender's clock is off.
	suspectTolerance = 50 * time.Millisecond
	// windowSize is how long it takes until a peer's clock that was put right is believed again, at most twice.
	windowSize = time.Minute
)

// Offset is what was learned about a peer's clock. A request's times are by the clock of its sender: a frame
// whose lag, the time from its sending to its arrival, is large was delayed, or its sender's clock is slow. No delay
// is negative and most are short, so the least lag of late is the difference of the clocks. Only frames that are
// known not to be late teach anything.
type Offset struct {
	mu                sync.Mutex
	current, previous window
	warned            bool

	// The first of the frames that seem to be late: they are not, if others are so by the same time.
	suspectSent  time.Time
	suspectDelay time.Duration

	// What the current window says, for those who observe nothing new: they need no lock.
	publishedMin   atomic.Int64 // nanoseconds
	publishedUntil atomic.Int64 // Unix time in nanoseconds
}

// publish tells observers of the current window.
func (c *Offset) publish() {
	c.publishedMin.Store(int64(c.current.min))
	c.publishedUntil.Store(c.current.start.Add(windowSize).UnixNano())
}

// window is the least lag in one stretch of time.
type window struct {
	start time.Time // zero: nothing was seen
	min   time.Duration
}

// MinDelay returns the least lag of late, if there is any.
func (c *Offset) MinDelay(now time.Time) (minimum time.Duration, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rotate(now)
	switch {
	case c.current.start.IsZero():
		return c.previous.min, !c.previous.start.IsZero()
	case c.previous.start.IsZero():
		return c.current.min, true
	default:
		return min(c.current.min, c.previous.min), true
	}
}

// Observe takes the lag of a frame that is not late.
func (c *Offset) Observe(now time.Time, delay time.Duration) {
	if now.UnixNano() < c.publishedUntil.Load() && int64(delay) >= c.publishedMin.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rotate(now)
	if c.current.start.IsZero() {
		c.current = window{start: now, min: delay}
	}
	c.current.min = min(c.current.min, delay)
	c.publish()
}

// rotate forgets what is too old.
func (c *Offset) rotate(now time.Time) {
	if !c.current.start.IsZero() && now.Sub(c.current.start) >= windowSize {
		c.previous, c.current = c.current, window{}
		c.publishedUntil.Store(0) // or else a server whose own clock was set back learns nothing until it is as late again
	}
	if now.Sub(c.previous.start) >= 2*windowSize {
		c.previous = window{}
	}
}

// ConfirmSuspect takes a frame that seems to be late, and reports whether it proves that the clock is off: it has the lag
// of an earlier one, though they were sent at different times. Frames that a bus held up, and then delivers together,
// have not. The clock is then believed to be so, whatever it was before.
func (c *Offset) ConfirmSuspect(now, sent time.Time, delay time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	apart, difference := sent.Sub(c.suspectSent), (delay - c.suspectDelay).Abs()
	if c.suspectSent.IsZero() || difference > suspectTolerance || apart < 0 {
		c.suspectSent, c.suspectDelay = sent, delay
		return false
	}
	if apart < 4*suspectTolerance {
		return false
	}
	c.suspectSent = time.Time{}
	c.previous, c.current = window{}, window{start: now, min: delay}
	c.publish()
	return true
}

// FirstWarning reports true once.
func (c *Offset) FirstWarning() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.warned
	c.warned = true
	return first
}
