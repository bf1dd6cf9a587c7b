package natsbus

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// events wait for the handler, so that nobody else waits for it. What does not fit is dropped: the counters know it.
type events struct{ queue chan bus.Event }

func newEvents() events { return events{queue: make(chan bus.Event, 256)} }

func (e *events) emit(event bus.Event) {
	select {
	case e.queue <- event:
	default:
	}
}

// handleEvents runs the handler until the bus is closed and the queue is empty.
func (b *Bus) handleEvents() {
	for {
		select {
		case event := <-b.events.queue:
			b.options.onEvent(event)
		case <-b.ctx.Done():
			for {
				select {
				case event := <-b.events.queue:
					b.options.onEvent(event)
				default:
					return
				}
			}
		}
	}
}

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
