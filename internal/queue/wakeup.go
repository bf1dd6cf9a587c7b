package queue

// Wakeup is a channel that tells one goroutine to check some shared state again. Its capacity is
// one, so all wake-ups that are sent before the goroutine runs are merged into one. The goroutine
// may also be woken for a change that it has already seen.
type Wakeup chan struct{}

// NewWakeup returns a Wakeup without a pending wake-up.
func NewWakeup() Wakeup { return make(Wakeup, 1) }

// Send wakes the goroutine. The shared state must be changed before Send is called. Send never
// blocks: if a wake-up is already pending, the goroutine will see the new state when it receives
// that wake-up.
func (w Wakeup) Send() {
	select {
	case w <- struct{}{}:
	default:
	}
}
