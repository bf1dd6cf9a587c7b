package natsbus

import "time"

// logInterval is the minimum time between two events of a logThrottle.
const logInterval = 10 * time.Second

// logThrottle merges frequent occurrences into one event per logInterval. It is not safe for
// concurrent use.
type logThrottle struct {
	// suppressed counts the occurrences since the last event.
	suppressed uint64
	next       time.Time // of the next event, at the earliest
}

// allow counts an occurrence and reports whether an event is due. If so, count is the number of
// occurrences that the event stands for.
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
