package natsbus

import (
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// supervisor keeps a bus connected: it follows the state of the connection, probes the server, and
// replaces a connection that nats.go has closed for good. Its goroutines are watch and flushes.
//
// It has no state of its own that outlives a call, so it needs no mutex.
type supervisor struct {
	telemetry     *telemetry
	conn          *connection
	publisher     *publisher
	subscriptions *subscriptions
	dispatcher    *dispatcher
	// confirmInterval is the minimum time between two calls to reports.Pending.Rotate. It is the
	// constant of the same name, except in tests.
	confirmInterval time.Duration
	// onEnd is called on a goroutine of its own if the connection has been closed for good and
	// cannot be replaced.
	onEnd func(reason error)
}

// markDisconnected makes Publish and Subscribe fail until markConnected is called. If the bus was
// connected, markDisconnected also fails the pending reports and emits an event.
func (s *supervisor) markDisconnected(reason error) {
	if !s.conn.state.setDown(reason) {
		return
	}
	s.telemetry.Disconnects.Add(1)
	s.publisher.failReports()
	// The server checks permissions again after a reconnect.
	s.publisher.noResponders.denied.Store(false)
	s.conn.privateDenied.Store(false)
	s.telemetry.events.Disconnected(reason)
}

// markConnected is called after a successful flush. epoch is the connection epoch that was read
// before the flush's PING was sent. If the bus was disconnected and the connection has not failed
// since that epoch, markConnected marks the bus as connected and emits an event.
func (s *supervisor) markConnected(epoch uint64) {
	if s.conn.state.err() == nil {
		return
	}
	// A publisher may have passed connection.check just before the connection failed, and added its
	// report after markDisconnected failed the pending reports. Fail this report now.
	s.publisher.failReports()
	s.conn.readServerInfo()
	if s.conn.state.setUp(epoch) {
		s.telemetry.events.Reconnected()
	}
}

// onAsyncError is called with each error that nats.go passes to the error handler of the
// connection.
func (s *supervisor) onAsyncError(err error) {
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		s.subscriptions.countDropped()
	case errors.Is(err, nats.ErrPermissionViolation):
		if found := deniedSubject.FindStringSubmatch(err.Error()); found != nil && found[1] == "Publish" {
			s.publisher.onDenied(found[2], err)
		} else if found != nil {
			s.subscriptions.onDenied(subKey{subject: found[2], queue: found[3] == queueGroup}, err)
		}
	case errors.Is(err, nats.ErrMaxSubscriptionsExceeded):
		s.subscriptions.onRefused(err)
	}
	s.conn.asyncErrors.record(err)
}
