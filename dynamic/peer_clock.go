package dynamic

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// clockTolerance is how far a peer's clock may be off, or a frame delayed, before it matters.
	clockTolerance = 500 * time.Millisecond
	// clockMemory is how long it takes until a peer's clock that was put right is believed again, at most twice.
	clockMemory = time.Minute
)

// peerClock is what was learned about a peer's clock. A request's times are by the clock of its sender: a frame
// whose lag, the time from its sending to its arrival, is large was delayed, or its sender's clock is slow. No delay
// is negative and most are short, so the least lag of late is the difference of the clocks.
type peerClock struct {
	mu                sync.Mutex
	current, previous clockWindow
	warned            bool
}

// clockWindow is the least lag in one stretch of time.
type clockWindow struct {
	start time.Time // zero: nothing was seen
	least time.Duration
}

// observe takes the lag of a frame, and returns the least one of earlier frames, if there were any lately.
func (c *peerClock) observe(now time.Time, lag time.Duration) (least time.Duration, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.current.start) >= clockMemory {
		c.previous, c.current = c.current, clockWindow{start: now, least: lag}
		if now.Sub(c.previous.start) >= 2*clockMemory {
			c.previous = clockWindow{}
		}
		return c.previous.least, !c.previous.start.IsZero()
	}
	least = c.current.least
	if !c.previous.start.IsZero() {
		least = min(least, c.previous.least)
	}
	c.current.least = min(c.current.least, lag)
	return least, true
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
func (in *incoming) schedule(now time.Time) bool {
	sent, expiry := time.Unix(0, in.request.SentAt), time.Unix(0, in.request.Expiry)
	in.context.deadline = expiry
	if in.request.SentAt == 0 || !sent.Before(expiry) {
		return now.Before(expiry)
	}
	lag, clock := now.Sub(sent), &in.peer.clock
	least, known := clock.observe(now, lag)
	if lag.Abs() <= clockTolerance && now.Before(expiry) {
		return true
	}
	offset := time.Duration(0) // of the client's clock: how slow it is
	if known {
		offset = min(least, lag)
	} else if lag < 0 {
		offset = lag
	}
	in.context.deadline = expiry.Add(offset)
	if now.Before(in.context.deadline) {
		if offset.Abs() > clockTolerance && clock.firstWarning() {
			in.method.registration.server.options.logger.Warn("dynpsrpc: the clock of a client is off",
				slog.String("client", string(in.request.ClientID)), slog.Duration("ahead", -offset))
		}
		return true
	}
	in.doubtful = !known && in.method.method.RequireClaim()
	in.context.deadline = now.Add(expiry.Sub(sent))
	return in.doubtful
}
