package pipeline

import "time"

const (
	// slowReply is the shortest wait for a reply that counts as slow; see [link.onReply]. Only
	// waits during which commands could not be sent are measured.
	slowReply = 20 * time.Millisecond
	// raisedLimitLife is the minimum time for which the raised limit for a slow link is kept. After
	// that, the first wait that is not slow resets the limit.
	raisedLimitLife = 10 * time.Second
)

// link measures how long commands wait for replies, and adapts the limit on batches in flight to
// the link. On a slow link, two batches per round trip are too few, so commands wait although Redis
// is idle. Only the pipeline's goroutine uses it.
type link struct {
	// waitingSince is the time at which the pipeline's goroutine began to wait for a reply while
	// commands were waiting because of the limit. It is zero at other times.
	waitingSince time.Time
	// slowWaits is the total duration of all slow waits since slowSince. A wait is slow if it takes
	// at least slowReply.
	slowWaits time.Duration
	slowSince time.Time
	// limitRaised is the time at which the limit was last raised above minInFlight.
	limitRaised time.Time
}

// onBlocked is called when commands must wait for a reply. The wait ends with the next call of
// onReply.
func (l *link) onBlocked() {
	if !l.isBlocked() {
		l.waitingSince = time.Now()
	}
}

// isBlocked reports whether commands wait for a reply.
func (l *link) isBlocked() bool { return !l.waitingSince.IsZero() }

// onReply is called when a reply arrives for which commands have waited. current is the present
// limit on batches in flight. onReply returns the limit that suits the link.
func (l *link) onReply(current int) int {
	now := time.Now()
	waited := now.Sub(l.waitingSince)
	l.waitingSince = time.Time{}
	if waited >= slowReply {
		l.slowWaits += waited
		if l.slowWaits*2 < now.Sub(l.slowSince) {
			// Earlier long waits were exceptions. Measure again, starting with this one.
			l.slowSince, l.slowWaits = now.Add(-waited), waited
			return current
		}
		// Slow waits take up at least half of the time. Allow one batch per millisecond of the
		// wait.
		l.limitRaised = now
		return max(current, min(int(waited/time.Millisecond), maxInFlight))
	}
	if current > minInFlight && now.Sub(l.limitRaised) > raisedLimitLife {
		// The link has become fast. A higher limit would only make the batches smaller.
		return minInFlight
	}
	return current
}

// reset is called when the connection has failed. limitRaised stays as it is, because the pipeline
// has already lowered the limit.
func (l *link) reset() { l.waitingSince, l.slowSince = time.Time{}, time.Time{} }
