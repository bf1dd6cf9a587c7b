package natsbus

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus/natsbus/internal/flush"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// These errors say why the bus is disconnected; see also flush.ErrConnLost.
var (
	errNotConnected = errors.NewErrorf(errors.Unavailable, "nats bus is not connected: no server has been reached yet")
	errConnClosed   = errors.NewErrorf(errors.Unavailable, "nats bus is disconnected: the program has closed or drained its "+
		"connection, or nats.go has stopped reconnecting")
)

// connState is the bus's own view of the connection: connected, disconnected (and why), or
// closed. It is stricter than the status reported by nats.go, which is CONNECTED as soon as the
// server has accepted the connection. The bus also waits until a PING has been answered, which
// proves that the server has processed the renewed subscriptions.
type connState struct {
	// outage contains the reason why the bus is disconnected or closed. It is nil while the bus is
	// connected. Publish reads it without locking mu.
	outage atomic.Pointer[outage]

	// mu guards the fields below. It is held while outage changes.
	mu sync.Mutex
	// failures counts how often the connection has failed.
	failures uint64
	// closed reports whether close has been called. outage does not change after that.
	closed bool
}

// outage is the reason why the bus is disconnected or closed.
type outage struct {
	err error
	// connLost reports whether the connection was lost or never established, as opposed to an open
	// connection whose server does not answer.
	connLost bool
	since    time.Time
}

// err returns nil while the bus is connected, and the reason for the outage otherwise. After close,
// the reason wraps bus.ErrClosed.
func (c *connState) err() error {
	if outage := c.outage.Load(); outage != nil {
		return outage.err
	}
	return nil
}

// setDown marks the connection as disconnected for the given reason and reports whether it was
// connected before. If it was already disconnected, err replaces the previous reason, unless err
// only says that the connection was lost. After close, setDown does nothing.
func (c *connState) setDown(err error) (wasUp bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.failures++
	previous, next := c.outage.Load(), &outage{err: err, since: time.Now()}
	if err == flush.ErrConnLost || err == errNotConnected { //nolint:errorlint // identity is intended
		next.connLost = true
		if previous != nil {
			next.err = previous.err
		}
	}
	if previous != nil {
		next.since = previous.since
	}
	c.outage.Store(next)
	return previous == nil
}

// explain sets the reason for an outage to err, which says why reconnecting fails. It reports
// whether the text of the reason has changed. If the outage has lasted for less than minAge, or if
// the bus is connected or closed, explain does nothing.
func (c *connState) explain(err error, minAge time.Duration) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	previous := c.outage.Load()
	if c.closed || previous == nil || time.Since(previous.since) < minAge || previous.err.Error() == err.Error() {
		return false
	}
	c.outage.Store(&outage{err: err, connLost: previous.connLost, since: previous.since})
	return true
}

// reconnecting reports whether the bus is disconnected because the connection was lost or never
// established.
func (c *connState) reconnecting() bool {
	outage := c.outage.Load()
	return outage != nil && outage.connLost
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

// close marks the bus as closed. From then on, err always returns reason, which wraps
// bus.ErrClosed.
func (c *connState) close(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.outage.Store(&outage{err: reason})
}
