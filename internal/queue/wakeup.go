package queue

// Wakeup is a channel that wakes one goroutine to check shared state again. It has a capacity of
// one, so any number of wake-ups before the goroutine runs become a single one. Wake-ups may be
// spurious: the goroutine may find that it has already seen the change.
type Wakeup chan struct{}

// NewWakeup returns a Wakeup that is not pending.
func NewWakeup() Wakeup { return make(Wakeup, 1) }

// Send makes the wake-up pending. It never blocks: if a wake-up is already pending, the goroutine
// will see the new state when it receives that one. State must be changed before Send is called.
func (w Wakeup) Send() {
	select {
	case w <- struct{}{}:
	default:
	}
}
