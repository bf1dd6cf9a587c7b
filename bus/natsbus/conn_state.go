package natsbus

import (
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// connState is the bus's own view of the connection: connected, disconnected (and why), or
// closed. It is stricter than the status reported by nats.go, which is CONNECTED as soon as the
// server has accepted the connection. The bus also waits until a PING has been answered, which
// proves that the server has processed the renewed subscriptions.
type connState struct {
	// outage contains the reason why the bus is disconnected or closed. It is nil while the bus is
	// connected. Publish reads it without locking mu.
	outage atomic.Pointer[outage]

	mu       sync.Mutex
	failures uint64
	// closed reports whether close has been called. outage does not change after that.
	closed bool
}

// outage wraps an error so that it can be stored in an atomic pointer.
type outage struct{ err error }

// err returns nil while the bus is connected, bus.ErrClosed after close, and the reason for the
// outage otherwise.
func (c *connState) err() error {
	if outage := c.outage.Load(); outage != nil {
		return outage.err
	}
	return nil
}

// setDown marks the connection as disconnected for the given reason and reports whether it was
// connected before. If it was already disconnected, err replaces the previous reason. After close,
// setDown does nothing.
func (c *connState) setDown(err error) (wasUp bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.failures++
	return c.outage.Swap(&outage{err}) == nil
}

// epoch returns a number that changes whenever the connection fails.
func (c *connState) epoch() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failures
}

// setUp marks the connection as connected and reports whether it was disconnected before. epoch is
// the value that the epoch method returned before the PING was sent. If the connection has failed
// since then, the answer to the PING proves nothing and setUp does not change the state.
func (c *connState) setUp(epoch uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.failures != epoch {
		return false
	}
	return c.outage.Swap(nil) != nil
}

// close marks the bus as closed. From then on, err always returns bus.ErrClosed.
func (c *connState) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.outage.Store(&outage{bus.ErrClosed})
}
