package natsbus

import (
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus/natsbus/internal/flush"
)

// watch monitors the connection status, probes the server and confirms pending reports until the
// bus is closed.
func (s *supervisor) watch() {
	probe := time.NewTicker(s.conn.probeInterval)
	defer probe.Stop()
	confirmTimer := time.NewTimer(s.confirmInterval)
	defer confirmTimer.Stop()
	pending := s.publisher.reports
	confirming := flush.Never()
	for {
		select {
		case status := <-s.conn.statuses:
			s.onStatus(status)
		case <-probe.C:
			s.checkOutage()
			if err := s.conn.flusher.Stalled(); err != nil {
				s.markDisconnected(err)
			}
			s.conn.flusher.Request()
			s.subscriptions.countDropped()
			s.subscriptions.dropStale()
		case <-pending.FirstAdded():
			confirmTimer.Reset(s.confirmInterval)
		case <-confirmTimer.C:
			pending.Rotate()
			confirming = s.conn.flusher.Request()
		case <-confirming.Done():
			if confirming.Err() == nil {
				pending.ConfirmPrevious()
			}
			if pending.Any() {
				confirmTimer.Reset(s.confirmInterval)
			}
			confirming = flush.Never()
		case <-s.conn.ctx.Done():
			return
		}
	}
}

// onStatus handles a status change reported by nats.go. CONNECTED alone does not mark the bus as
// connected. The requested flush does so, because it succeeds only after the server has processed
// the subscriptions that nats.go has sent again.
func (s *supervisor) onStatus(status nats.Status) {
	switch status {
	case nats.CONNECTED:
		s.conn.flusher.Request()
	case nats.CLOSED:
		s.onConnClosed()
	case nats.DRAINING_SUBS, nats.DRAINING_PUBS:
		s.markDisconnected(errConnClosed)
	default:
		s.markDisconnected(flush.ErrConnLost)
	}
}

// checkOutage is called at each probe. While nats.go is reconnecting, checkOutage records why the
// last attempt failed. LastError does not return dial errors. They are known only if the bus itself
// has opened the connection. checkOutage also detects a closed connection, because nats.go drops a
// status change while the channel of statuses is full.
func (s *supervisor) checkOutage() {
	if s.conn.state.err() == nil {
		return
	}
	nc := s.conn.get()
	switch nc.Status() {
	case nats.CLOSED:
		s.onConnClosed()
	case nats.RECONNECTING:
		err := nc.LastError()
		if err == nil && s.conn.owner != nil && s.conn.owner.reconnectErr.Load() != nil {
			err = *s.conn.owner.reconnectErr.Load()
		}
		if err != nil {
			s.conn.explainOutage(err)
		}
	default:
	}
}
