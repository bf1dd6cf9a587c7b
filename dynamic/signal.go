package dynamic

import "sync"

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

// signalPool keeps signals to be used again. Whoever still holds one that was put back may send, so the goroutine that
// gets it next must expect to be woken for nothing. It belongs to a conn, since channels made in a testing/synctest bubble
// must stay in it.
type signalPool struct{ unused sync.Pool }

func (p *signalPool) get() signal {
	if s, ok := p.unused.Get().(signal); ok {
		return s
	}
	return newSignal()
}

// put takes back a signal that nobody waits for any more.
func (p *signalPool) put(s signal) {
	select {
	case <-s:
	default:
	}
	p.unused.Put(s)
}
