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
	// clockMemory is how long it takes until a peer's clock that was put right is believed again, at most twice.
	clockMemory = time.Minute
)

// peerClock is what was learned about a peer's clock. A request's times are by the clock of its sender: a frame
// whose lag, the time from its sending to its arrival, is large was delayed, or its sender's clock is slow. No delay
// is negative and most are short, so the least lag of late is the difference of the clocks. Only frames that are
// known not to be late teach anything.
type peerClock struct {
	mu                sync.Mutex
	current, previous clockWindow
	warned            bool

	// The first of the frames that seem to be late: they are not, if others are so by the same time.
	suspectSent time.Time
	suspectLag  time.Duration

	// What the current window says, for those who observe nothing new: they need no lock.
	shownLeast atomic.Int64 // nanoseconds
	shownUntil atomic.Int64 // Unix time in nanoseconds
}

// show tells observers of the current window.
func (c *peerClock) show() {
	c.shownLeast.Store(int64(c.current.least))
	c.shownUntil.Store(c.current.start.Add(clockMemory).UnixNano())
}

// clockWindow is the least lag in one stretch of time.
type clockWindow struct {
	start time.Time // zero: nothing was seen
	least time.Duration
}

// least returns the least lag of late, if there is any.
func (c *peerClock) least(now time.Time) (least time.Duration, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(now)
	switch {
	case c.current.start.IsZero():
		return c.previous.least, !c.previous.start.IsZero()
	case c.previous.start.IsZero():
		return c.current.least, true
	default:
		return min(c.current.least, c.previous.least), true
	}
}

// observe takes the lag of a frame that is not late.
func (c *peerClock) observe(now time.Time, lag time.Duration) {
	if now.UnixNano() < c.shownUntil.Load() && int64(lag) >= c.shownLeast.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(now)
	if c.current.start.IsZero() {
		c.current = clockWindow{start: now, least: lag}
	}
	c.current.least = min(c.current.least, lag)
	c.show()
}

// turn forgets what is too old.
func (c *peerClock) turn(now time.Time) {
	if !c.current.start.IsZero() && now.Sub(c.current.start) >= clockMemory {
		c.previous, c.current = c.current, clockWindow{}
		c.shownUntil.Store(0) // or else a server whose own clock was set back learns nothing until it is as late again
	}
	if now.Sub(c.previous.start) >= 2*clockMemory {
		c.previous = clockWindow{}
	}
}

// confirm takes a frame that seems to be late, and reports whether it proves that the clock is off: it has the lag
// of an earlier one, though they were sent at different times. Frames that a bus held up, and then delivers together,
// have not. The clock is then believed to be so, whatever it was before.
func (c *peerClock) confirm(now, sent time.Time, lag time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	apart, difference := sent.Sub(c.suspectSent), (lag - c.suspectLag).Abs()
	if c.suspectSent.IsZero() || difference > suspectTolerance || apart < 0 {
		c.suspectSent, c.suspectLag = sent, lag
		return false
	}
	if apart < 4*suspectTolerance {
		return false
	}
	c.suspectSent = time.Time{}
	c.previous, c.current = clockWindow{}, clockWindow{start: now, least: lag}
	c.show()
	return true
}

// firstWarning reports true once.
func (c *peerClock) firstWarning() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.warned
	c.warned = true
	return first
}

// schedule sets when the request expires by this server's clock, and reports whether that is still to come. A
// request that seems to be late, from a client of which nothing is known yet, is in doubt: if its servers are chosen
// by claims, it is claimed, and the client's answer proves that it is not late.
func (in *incoming) schedule(now time.Time, expires int64) bool {
	sent, expiry := time.Unix(0, in.sentAt), time.Unix(0, expires)
	in.context.deadline = expiry
	if in.sentAt == 0 || !sent.Before(expiry) {
		return now.Before(expiry)
	}
	lag, clock := now.Sub(sent), &in.peer.clock
	if lag.Abs() <= clockTolerance && now.Before(expiry) {
		clock.observe(now, lag)
		return true
	}
	least, known := clock.least(now)
	switch {
	case lag < 0: // nothing comes before it is sent
		clock.observe(now, lag)
		return in.believe(now, expiry, min(least, lag))
	case known && now.Before(expiry.Add(min(least, lag))):
		clock.observe(now, lag)
		return in.believe(now, expiry, min(least, lag))
	case clock.confirm(now, sent, lag):
		return in.believe(now, expiry, lag)
	case now.Before(expiry):
		return true
	}
	in.doubtful = !known && in.method.method.RequireClaim()
	in.context.deadline = now.Add(expiry.Sub(sent))
	return in.doubtful
}

// believe takes the client's clock to be slow by so much.
func (in *incoming) believe(now, expiry time.Time, slow time.Duration) bool {
	in.context.deadline = expiry.Add(slow)
	in.clockIsOff = slow.Abs() > clockTolerance
	return now.Before(in.context.deadline)
}

// proved says that a doubtful request is awaited: it is not late.
func (in *incoming) proved() {
	if in.doubtful {
		now := time.Now()
		in.peer.clock.observe(now, now.Sub(time.Unix(0, in.sentAt)))
		in.clockIsOff = true
	}
}

// warnOfClock says once that a client's clock is off.
func (in *incoming) warnOfClock() {
	if in.clockIsOff && in.peer.clock.firstWarning() {
		in.method.registration.server.options.logger.Warn("dynpsrpc: the clock of a client is off",
			slog.String("client", in.peer.id), slog.String("method", in.method.method.FullName()))
	}
}
