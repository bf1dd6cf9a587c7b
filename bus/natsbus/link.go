package natsbus

import (
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// link is what the bus knows of the way to the server.
type link struct {
	outage atomic.Pointer[outage] // nil: the server is within reach

	mu       sync.Mutex
	failures uint64
	closed   bool // the outage is final
}

type outage struct{ err error }

// err returns why the server is out of reach, or bus.ErrClosed, or nil.
func (l *link) err() error {
	if outage := l.outage.Load(); outage != nil {
		return outage.err
	}
	return nil
}

// fail reports whether the link was up. The last reason counts.
func (l *link) fail(err error) (wasUp bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.failures++
	return l.outage.Swap(&outage{err}) == nil
}

// age returns a number that changes when the link fails.
func (l *link) age() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failures
}

// recover reports whether the link was down and now is up. It stays down if it has failed since it had age.
func (l *link) recover(age uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.failures != age {
		return false
	}
	return l.outage.Swap(nil) != nil
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.outage.Store(&outage{bus.ErrClosed})
}
