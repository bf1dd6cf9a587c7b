package lifecycle

// eventQueueSize is the number of values that can wait for a slow handler.
const eventQueueSize = 256

// EventQueue passes values to a function, one at a time and in order, without blocking the sender:
// a value that finds the queue full is dropped. Use [NewEventQueue] to create one.
type EventQueue[T any] struct{ queue chan T }

// NewEventQueue returns an empty queue. Values wait in it until a goroutine calls Run.
func NewEventQueue[T any]() EventQueue[T] { return EventQueue[T]{queue: make(chan T, eventQueueSize)} }

// Put adds value to the queue, or drops it if the queue is full. It never blocks.
func (q EventQueue[T]) Put(value T) {
	select {
	case q.queue <- value:
	default:
	}
}

// Run calls handle with each value. It returns once done is closed and the queue is empty.
func (q EventQueue[T]) Run(done <-chan struct{}, handle func(T)) {
	for {
		select {
		case value := <-q.queue:
			handle(value)
		case <-done:
			for {
				select {
				case value := <-q.queue:
					handle(value)
				default:
					return
				}
			}
		}
	}
}
