package natsbus

import (
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// connState is what the bus knows of the way to the server.
type connState struct {
	outage atomic.Pointer[outage] // nil: the server is within reach

	mu       sync.Mutex
	failures uint64
	closed   bool // the outage is final
}

type outage struct{ err error }

// err returns why the server is out of reach, or bus.ErrClosed, or nil.
func (l *connState) err() error {
	if outage := l.outage.Load(); outage != nil {
		return outage.err
	}
	return nil
}

// setDown reports whether the link was up. The last reason counts.
func (l *connState) setDown(err error) (wasUp bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.failures++
	return l.outage.Swap(&outage{err}) == nil
}

// epoch returns a number that changes when the link fails.
func (l *connState) epoch() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failures
}

// setUp reports whether the link was down and now is up. It stays down if it has failed since it had age.
func (l *connState) setUp(epoch uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.failures != epoch {
		return false
	}
	return l.outage.Swap(nil) != nil
}

func (l *connState) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.outage.Store(&outage{bus.ErrClosed})
}
