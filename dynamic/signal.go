package dynamic

// signal wakes the one goroutine that receives from it. It has room for one.
type signal chan struct{}

func newSignal() signal { return make(signal, 1) }

// send never waits: if the goroutine has not looked since it was last woken, it will.
func (s signal) send() {
	select {
	case s <- struct{}{}:
	default:
	}
}
