package dynamic

// wakeup wakes the one goroutine that receives from it. It has room for one.
type wakeup chan struct{}

func newWakeup() wakeup { return make(wakeup, 1) }

// send never waits: if the goroutine has not looked since it was last woken, it will.
func (s wakeup) send() {
	select {
	case s <- struct{}{}:
	default:
	}
}
