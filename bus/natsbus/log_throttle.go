package natsbus

import "time"

// logInterval is the minimum time between two events allowed by a logThrottle.
const logInterval = 10 * time.Second

// logThrottle combines frequent occurrences of a problem into at most one event per logInterval. It
// is not safe for concurrent use.
type logThrottle struct {
	// suppressed counts the occurrences since the last event.
	suppressed uint64
	// next is the earliest time of the next event.
	next time.Time
}

// allow counts an occurrence and reports whether an event may be emitted now. If so, count is the
// number of occurrences that the event represents.
func (l *logThrottle) allow() (count uint64, ok bool) {
	l.suppressed++
	now := time.Now()
	if now.Before(l.next) {
		return 0, false
	}
	count = l.suppressed
	*l = logThrottle{next: now.Add(logInterval)}
	return count, true
}
