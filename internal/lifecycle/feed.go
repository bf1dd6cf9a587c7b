package lifecycle

// feedRoom is how many values wait for a function that is slower than they come.
const feedRoom = 256

// Feed hands values to a function, one at a time and in order, so that nobody else waits for it. What does not fit is
// dropped. Make one with [NewFeed].
type Feed[T any] struct{ queue chan T }

// NewFeed returns a feed that nobody runs.
func NewFeed[T any]() Feed[T] { return Feed[T]{queue: make(chan T, feedRoom)} }

// Put never blocks.
func (f Feed[T]) Put(value T) {
	select {
	case f.queue <- value:
	default:
	}
}

// Run calls handle with each value until done is closed and nothing is waiting.
func (f Feed[T]) Run(done <-chan struct{}, handle func(T)) {
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
