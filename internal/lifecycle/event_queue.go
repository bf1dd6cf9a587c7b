package lifecycle

// eventQueueSize is the maximum number of values that wait for a slow handler.
const eventQueueSize = 256

// EventQueue passes values to a function one at a time and in order, without blocking the sender.
// If the queue is full, new values are dropped. Use [NewEventQueue] to create an EventQueue.
type EventQueue[T any] struct{ queue chan T }

// NewEventQueue returns an empty queue. Values are queued until a goroutine calls Run.
func NewEventQueue[T any]() EventQueue[T] { return EventQueue[T]{queue: make(chan T, eventQueueSize)} }

// Put adds value to the queue. If the queue is full, value is dropped. Put never blocks.
func (q EventQueue[T]) Put(value T) {
	select {
	case q.queue <- value:
	default:
	}
}

// Run calls handle for each value. It returns when done is closed and the queue is empty.
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
