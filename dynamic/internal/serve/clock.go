package serve

import (
	"log/slog"
	"math"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/clockskew"
)

// computeDeadline sets the deadline of the request's context, by this server's clock. expiresAt is
// the deadline by the client's clock, in nanoseconds since the Unix epoch. needsClaim reports
// whether the method requires claims. computeDeadline returns false if the request has expired and
// must be dropped.
//
// A late request and one from a client with a slow clock look the same: both seem to have been sent
// too long ago. The delays of the client's earlier requests show which it is (see
// [clockskew.Offset]).
func (r *requestBase) computeDeadline(now time.Time, expiresAt int64, needsClaim bool) bool {
	remaining := elapsed(now.UnixNano(), expiresAt)
	// The value of now includes a reading of the monotonic clock, which Add preserves. The deadline
	// therefore stays right even if this server's clock is set while the handler runs.
	r.context.Expiry = now.Add(remaining)
	if r.sentAt == 0 || r.sentAt >= expiresAt {
		return remaining > 0
	}
	delay, clock := elapsed(r.sentAt, now.UnixNano()), &r.client.clock
	if delay.Abs() <= clockskew.Tolerance && remaining > 0 {
		clock.Observe(now, delay)
		return true
	}
	sent, expiry := time.Unix(0, r.sentAt), time.Unix(0, expiresAt)
	minimum, known := clock.MinDelay(now)
	switch {
	case delay < 0:
		// A frame cannot arrive before it was sent, so the client's clock must be fast.
		clock.Observe(now, delay)
		return r.applySkew(now, min(minimum, delay))
	case known && now.Before(expiry.Add(min(minimum, delay))):
		clock.Observe(now, delay)
		return r.applySkew(now, min(minimum, delay))
	case clock.ConfirmSuspect(now, sent, delay):
		return r.applySkew(now, delay)
	case remaining > 0:
		return true
	}
	// Without earlier requests of the client, it is not known whether this one is late. If the
	// method requires claims, the server claims the request, because a client that selects it is
	// still waiting. Otherwise, the request is dropped, as in psrpc.
	r.maybeExpired = !known && needsClaim
	r.context.Expiry = now.Add(expiry.Sub(sent))
	return r.maybeExpired
}

// elapsed returns the time from start to end, both in nanoseconds since the Unix epoch. The times
// come from a client and may be arbitrary. If the result does not fit into a Duration, elapsed
// returns the longest Duration with the same sign. time.Time.Sub would do the same, but takes
// several times as long.
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
func (r *requestBase) applySkew(now time.Time, skew time.Duration) bool {
	r.context.Expiry = r.context.Expiry.Add(skew)
	r.skewed = skew.Abs() > clockskew.Tolerance
	return now.Before(r.context.Expiry)
}

// confirmFresh is called once the server may handle the request. If the request looked expired when
// it arrived, the client has selected this server since, so it is still waiting. The request was
// therefore not late, and confirmFresh records its delay as the offset of the client's clock.
func (r *requestBase) confirmFresh() {
	if r.maybeExpired {
		now := time.Now()
		r.client.clock.Observe(now, now.Sub(time.Unix(0, r.sentAt)))
		r.skewed = true
	}
}

// warnIfSkewed logs a warning if the request has shown that the client's clock is wrong.
func (r *requestBase) warnIfSkewed() {
	if r.skewed {
		r.plan().warnClockSkew(r.client)
	}
}

// warnClockSkew logs a warning about a client whose clock is wrong. It warns at most once per
// client, and at most once in each transport.SkewLogInterval.
func (p *plan) warnClockSkew(client *clientEntry) {
	if !client.clock.FirstWarning() {
		return
	}
	if clients, ok := p.engine.skewLog.Allow(transport.SkewLogInterval); ok {
		p.engine.Logger.Warn("dynpsrpc: client clock is skewed",
			slog.String("client", transport.Shorten(client.id, transport.MaxLoggedName)),
			slog.String("method", p.method.FullName()), slog.Uint64("clients", clients))
	}
}
