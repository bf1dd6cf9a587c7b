package natsbus

import (
	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/backoff"
)

// nats.go reconnects after most failures, but closes the connection after a protocol error, for
// example if a payload has exceeded a limit. A single caller or peer could thus end the bus for all
// others. A bus that owns its connection therefore dials a new one. If a bus does not own its
// connection, the bus is closed instead, because it does not know the program's credentials and
// handlers.

// onConnClosed is called after nats.go has closed the connection for good.
func (s *supervisor) onConnClosed() {
	reason := errConnClosed
	if err := s.conn.get().LastError(); err != nil {
		reason = errors.NewErrorf(errors.Unavailable, "nats bus is disconnected: nats.go has closed the connection: %w", err)
	}
	s.markDisconnected(reason)
	if s.conn.owner != nil {
		s.redial()
		return
	}
	// onEnd closes the bus, which waits until watch has ended. It runs on another goroutine,
	// because watch is the caller of onConnClosed. Bus.Close waits until onEnd has closed the bus.
	go s.onEnd(reason)
}

// redial dials until a new connection has replaced the closed one, or until the bus is closed.
func (s *supervisor) redial() {
	for attempt := 1; backoff.Sleep(s.conn.ctx, reconnectBackoff.Jittered(attempt)); attempt++ {
		nc, closeConn, err := s.conn.owner.dial(s.conn.ctx)
		if err == nil {
			s.replaceConn(nc, closeConn)
			return
		}
		s.conn.explainOutage(err)
	}
}

// replaceConn closes the connection of the bus, replaces it with nc, and renews all subscriptions.
// closeConn closes nc. The following flush marks the bus as connected. If nc fails in the meantime,
// watch handles the change of its status.
func (s *supervisor) replaceConn(nc *nats.Conn, closeConn func()) {
	replaced := s.subscriptions.moveTo(func() {
		s.conn.detach()
		s.conn.owner.closeConn()
		s.conn.owner.closeConn = closeConn
		s.conn.attach(nc, s.onAsyncError)
	})
	if !replaced {
		closeConn()
		return
	}
	s.conn.flusher.Request()
}
