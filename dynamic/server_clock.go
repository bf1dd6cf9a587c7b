package dynamic

import (
	"log/slog"
	"math"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/clockskew"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
)

// requestClock converts the times in a request from the clock of the client to the clock of this
// server. It is also used for requests to open a stream.
type requestClock struct {
	client *clientEntry
	// sentAt is the time at which the client sent the request, according to the client's clock, in
	// nanoseconds since the Unix epoch. It is 0 if the request does not contain the time.
	sentAt int64
	// maybeExpired reports whether the request looks expired, but may also come from a client whose
	// clock is slow. If the client then selects this server, the client is still waiting, so its
	// clock must be slow. See computeDeadline.
	maybeExpired bool
	// skewed reports whether the request has shown that the client's clock is wrong.
	skewed bool
}

// computeDeadline sets the deadline of the request by this server's clock. expiresAt is the
// deadline by the client's clock, in nanoseconds since the Unix epoch. needsClaim reports whether
// the method requires claims. computeDeadline returns false if the request has expired and must be
// dropped.
//
// A late request and one from a client with a slow clock look the same: both seem to have been sent
// too long ago. The delays of the client's earlier requests show which it is (see
// [clockskew.Offset]).
func (c *requestClock) computeDeadline(now time.Time, expiresAt int64, ctx *lazyctx.Context, needsClaim bool) bool {
	remaining := elapsed(now.UnixNano(), expiresAt)
	// The value of now includes a reading of the monotonic clock, which Add preserves. The deadline
	// therefore stays right even if this server's clock is set while the handler runs.
	ctx.Expiry = now.Add(remaining)
	if c.sentAt == 0 || c.sentAt >= expiresAt {
		return remaining > 0
	}
	delay, clock := elapsed(c.sentAt, now.UnixNano()), &c.client.clock
	if delay.Abs() <= clockskew.Tolerance && remaining > 0 {
		clock.Observe(now, delay)
		return true
	}
	sent, expiry := time.Unix(0, c.sentAt), time.Unix(0, expiresAt)
	minimum, known := clock.MinDelay(now)
	switch {
	case delay < 0:
		// A frame cannot arrive before it was sent, so the client's clock must be fast.
		clock.Observe(now, delay)
		return c.applySkew(now, ctx, min(minimum, delay))
	case known && now.Before(expiry.Add(min(minimum, delay))):
		clock.Observe(now, delay)
		return c.applySkew(now, ctx, min(minimum, delay))
	case clock.ConfirmSuspect(now, sent, delay):
		return c.applySkew(now, ctx, delay)
	case remaining > 0:
		return true
	}
	// Without earlier requests, it is not known whether the request is late. A server that claims
	// it finds out, because a grant proves that the client is still waiting. If the method requires
	// no claims, the request is dropped, as in psrpc.
	c.maybeExpired = !known && needsClaim
	ctx.Expiry = now.Add(expiry.Sub(sent))
	return c.maybeExpired
}

// elapsed returns the time from start to end, both in nanoseconds since the Unix epoch. If the
// result does not fit a Duration, elapsed returns the longest possible Duration with the same sign.
// The times come from a client, so they can be anything. time.Time.Sub would do the same, but takes
// several times as long, and each request needs two differences.
func elapsed(start, end int64) time.Duration {
	d := time.Duration(end - start)
	switch {
	case d < 0 && end > start:
		return math.MaxInt64
	case d > 0 && end < start:
		return math.MinInt64
	default:
		return d
	}
}

// applySkew corrects the deadline of a request from a client whose clock is wrong. The clock is
// behind by skew, or ahead if skew is negative. applySkew reports whether the corrected deadline is
// in the future.
func (c *requestClock) applySkew(now time.Time, ctx *lazyctx.Context, skew time.Duration) bool {
	ctx.Expiry = ctx.Expiry.Add(skew)
	c.skewed = skew.Abs() > clockskew.Tolerance
	return now.Before(ctx.Expiry)
}

// confirmFresh records the offset of the client's clock if the request looked expired when it
// arrived. It is called when the server may handle the request. The client has then selected this
// server and is thus still waiting. The request was therefore not late, and its delay is the offset
// of the client's clock.
func (c *requestClock) confirmFresh() {
	if c.maybeExpired {
		now := time.Now()
		c.client.clock.Observe(now, now.Sub(time.Unix(0, c.sentAt)))
		c.skewed = true
	}
}

// warnIfSkewed logs a warning if the request has shown that the client's clock is wrong.
func (c *requestClock) warnIfSkewed(plan *serverPlan) {
	if c.skewed {
		plan.warnClockSkew(c.client)
	}
}

// skewLogInterval is the minimum time between two warnings of a server or conn about wrong clocks.
const skewLogInterval = 100 * time.Millisecond

// warnClockSkew logs a warning about a client whose clock is wrong. It warns at most once per
// client, and at most once in each skewLogInterval.
func (p *serverPlan) warnClockSkew(client *clientEntry) {
	if !client.clock.FirstWarning() {
		return
	}
	if clients, ok := p.server.skewLog.Allow(skewLogInterval); ok {
		p.server.options.logger.Warn("dynpsrpc: client clock is skewed",
			slog.String("client", transport.Shorten(client.id, maxLoggedName)),
			slog.String("method", p.method.FullName()), slog.Uint64("clients", clients))
	}
}
