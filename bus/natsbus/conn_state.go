package natsbus

import (
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// connState is the bus's own view of the connection: connected, disconnected with a reason, or
// closed. It is stricter than the status of nats.go, which is CONNECTED as soon as the server has
// accepted the connection: the bus waits for an answered PING, which proves that the server has
// processed the renewed subscriptions.
type connState struct {
	// outage is nil while the bus is connected. Publish reads it without taking mu.
	outage atomic.Pointer[outage]

	mu       sync.Mutex
	failures uint64
	closed   bool // outage does not change anymore
}

// outage boxes an error for the atomic pointer.
type outage struct{ err error }

// err returns nil while connected, bus.ErrClosed after close, and else the reason of the outage.
func (c *connState) err() error {
	if outage := c.outage.Load(); outage != nil {
		return outage.err
	}
	return nil
}

// setDown marks the connection as disconnected and reports whether it was connected before. A later
// reason replaces an earlier one.
func (c *connState) setDown(err error) (wasUp bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.failures++
	return c.outage.Swap(&outage{err}) == nil
}

// epoch returns a number that changes with every failure of the connection.
func (c *connState) epoch() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failures
}

// setUp marks the connection as connected and reports whether it was disconnected before. The
// caller passes the epoch read before its PING was sent: if the connection has failed since, the
// answer proves nothing and the state stays as it is.
func (c *connState) setUp(epoch uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.failures != epoch {
		return false
	}
	return c.outage.Swap(nil) != nil
}

// close makes err return bus.ErrClosed forever.
func (c *connState) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.outage.Store(&outage{bus.ErrClosed})
}
