package lifecycle

// eventQueueSize is how many values wait for a function that is slower than they come.
const eventQueueSize = 256

// EventQueue hands values to a function, one at a time and in order, so that nobody else waits for it. What does not fit is
// dropped. Make one with [NewEventQueue].
type EventQueue[T any] struct{ queue chan T }

// NewEventQueue returns a feed that nobody runs.
func NewEventQueue[T any]() EventQueue[T] { return EventQueue[T]{queue: make(chan T, eventQueueSize)} }

// Put never blocks.
func (f EventQueue[T]) Put(value T) {
	select {
	case f.queue <- value:
	default:
	}
}

// Run calls handle with each value until done is closed and nothing is waiting.
func (f EventQueue[T]) Run(done <-chan struct{}, handle func(T)) {
	for {
		select {
		case value := <-f.queue:
			handle(value)
		case <-done:
			for {
				select {
				case value := <-f.queue:
					handle(value)
				default:
					return
				}
			}
		}
	}
}
