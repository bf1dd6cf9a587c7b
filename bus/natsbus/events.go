package natsbus

import "github.com/dynpsrpc/dynpsrpc/bus"

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
