package dynamic

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// clockTolerance is how far a peer's clock may be off, or a frame delayed, before it matters.
	clockTolerance = 500 * time.Millisecond
	// suspectTolerance is how much the lags of frames may differ whose sender's clock is off.
	suspectTolerance = 50 * time.Millisecond
	// clockWindowSize is how long it takes until a peer's clock that was put right is believed again, at most twice.
	clockWindowSize = time.Minute
)

// clockOffset is what was learned about a peer's clock. A request's times are by the clock of its sender: a frame
// whose lag, the time from its sending to its arrival, is large was delayed, or its sender's clock is slow. No delay
// is negative and most are short, so the least lag of late is the difference of the clocks. Only frames that are
// known not to be late teach anything.
type clockOffset struct {
	mu                sync.Mutex
	current, previous clockWindow
	warned            bool

	// The first of the frames that seem to be late: they are not, if others are so by the same time.
	suspectSent  time.Time
	suspectDelay time.Duration

	// What the current window says, for those who observe nothing new: they need no lock.
	publishedMin   atomic.Int64 // nanoseconds
	publishedUntil atomic.Int64 // Unix time in nanoseconds
}

// publish tells observers of the current window.
func (c *clockOffset) publish() {
	c.publishedMin.Store(int64(c.current.min))
	c.publishedUntil.Store(c.current.start.Add(clockWindowSize).UnixNano())
}

// clockWindow is the least lag in one stretch of time.
type clockWindow struct {
	start time.Time // zero: nothing was seen
	min   time.Duration
}

// minDelay returns the least lag of late, if there is any.
func (c *clockOffset) minDelay(now time.Time) (minimum time.Duration, known bool) {
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

// observe takes the lag of a frame that is not late.
func (c *clockOffset) observe(now time.Time, delay time.Duration) {
	if now.UnixNano() < c.publishedUntil.Load() && int64(delay) >= c.publishedMin.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rotate(now)
	if c.current.start.IsZero() {
		c.current = clockWindow{start: now, min: delay}
	}
	c.current.min = min(c.current.min, delay)
	c.publish()
}

// rotate forgets what is too old.
func (c *clockOffset) rotate(now time.Time) {
	if !c.current.start.IsZero() && now.Sub(c.current.start) >= clockWindowSize {
		c.previous, c.current = c.current, clockWindow{}
		c.publishedUntil.Store(0) // or else a server whose own clock was set back learns nothing until it is as late again
	}
	if now.Sub(c.previous.start) >= 2*clockWindowSize {
		c.previous = clockWindow{}
	}
}

// confirmSuspect takes a frame that seems to be late, and reports whether it proves that the clock is off: it has the lag
// of an earlier one, though they were sent at different times. Frames that a bus held up, and then delivers together,
// have not. The clock is then believed to be so, whatever it was before.
func (c *clockOffset) confirmSuspect(now, sent time.Time, delay time.Duration) bool {
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
	c.previous, c.current = clockWindow{}, clockWindow{start: now, min: delay}
	c.publish()
	return true
}

// firstWarning reports true once.
func (c *clockOffset) firstWarning() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.warned
	c.warned = true
	return first
}

// computeDeadline sets when the request expires by this server's clock, and reports whether that is still to come. A
// request that seems to be late, from a client of which nothing is known yet, is in doubt: if its servers are chosen
// by claims, it is claimed, and the client's answer proves that it is not late.
func (c *serverCall) computeDeadline(now time.Time, expires int64) bool {
	sent, expiry := time.Unix(0, c.sentAt), time.Unix(0, expires)
	c.context.deadline = expiry
	if c.sentAt == 0 || !sent.Before(expiry) {
		return now.Before(expiry)
	}
	delay, clock := now.Sub(sent), &c.client.clock
	if delay.Abs() <= clockTolerance && now.Before(expiry) {
		clock.observe(now, delay)
		return true
	}
	minimum, known := clock.minDelay(now)
	switch {
	case delay < 0: // nothing comes before it is sent
		clock.observe(now, delay)
		return c.applySkew(now, expiry, min(minimum, delay))
	case known && now.Before(expiry.Add(min(minimum, delay))):
		clock.observe(now, delay)
		return c.applySkew(now, expiry, min(minimum, delay))
	case clock.confirmSuspect(now, sent, delay):
		return c.applySkew(now, expiry, delay)
	case now.Before(expiry):
		return true
	}
	c.maybeExpired = !known && c.plan.method.RequireClaim()
	c.context.deadline = now.Add(expiry.Sub(sent))
	return c.maybeExpired
}

// applySkew takes the client's clock to be slow by so much.
func (c *serverCall) applySkew(now, expiry time.Time, slow time.Duration) bool {
	c.context.deadline = expiry.Add(slow)
	c.clockSkewed = slow.Abs() > clockTolerance
	return now.Before(c.context.deadline)
}

// confirmFresh says that a doubtful request is awaited: it is not late.
func (c *serverCall) confirmFresh() {
	if c.maybeExpired {
		now := time.Now()
		c.client.clock.observe(now, now.Sub(time.Unix(0, c.sentAt)))
		c.clockSkewed = true
	}
}

// warnClockSkew says once that a client's clock is off.
func (c *serverCall) warnClockSkew() {
	if c.clockSkewed && c.client.clock.firstWarning() {
		c.plan.registration.server.options.logger.Warn("dynpsrpc: the clock of a client is off",
			slog.String("client", c.client.id), slog.String("method", c.plan.method.FullName()))
	}
}
