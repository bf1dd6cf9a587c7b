package natsbus

import "time"

// quietTime is the least time between two events of a limiter.
const quietTime = 10 * time.Second

// limiter makes one event of many things that happen in a short time. One goroutine uses it.
type limiter struct {
	unsaid uint64
	next   time.Time
}

// word counts one thing, and reports whether it is time for an event, which is about so many.
func (l *limiter) word() (things uint64, ok bool) {
	l.unsaid++
	now := time.Now()
	if now.Before(l.next) {
		return 0, false
	}
	things = l.unsaid
	*l = limiter{next: now.Add(quietTime)}
	return things, true
}
