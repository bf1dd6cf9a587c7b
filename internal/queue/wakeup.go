package queue

// Wakeup wakes the one goroutine that receives from it. It has room for one.
type Wakeup chan struct{}

func NewWakeup() Wakeup { return make(Wakeup, 1) }

// Send never waits: if the goroutine has not looked since it was last woken, it will.
func (s Wakeup) Send() {
	select {
	case s <- struct{}{}:
	default:
	}
}
