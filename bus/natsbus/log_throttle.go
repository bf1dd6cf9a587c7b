package natsbus

import "time"

// logInterval is the least time between two events of a limiter.
const logInterval = 10 * time.Second

// logThrottle makes one event of many things that happen in a short time. One goroutine uses it.
type logThrottle struct {
	suppressed uint64
	next       time.Time
}

// allow counts one thing, and reports whether it is time for an event, which is about so many.
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
