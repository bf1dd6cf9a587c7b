package natsbus

import (
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// confirmInterval is the minimum time between two calls to reports.rotate. It must be much longer
// than the time between adding a report and sending its frame. It must also be much longer than the
// time needed to forward a queue frame to another process. Otherwise, the bus could drop a report
// before a no-responders status arrives.
const confirmInterval = 250 * time.Millisecond

var watchedStatuses = []nats.Status{
	nats.CONNECTED, nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED, nats.DRAINING_SUBS, nats.DRAINING_PUBS,
}

var (
	errNotConnected = errors.NewErrorf(errors.Unavailable, "nats bus is not connected: no server has been reached yet")
	errConnLost     = errors.NewErrorf(errors.Unavailable, "nats bus is disconnected: the connection to the server was lost")
	errConnClosed   = errors.NewErrorf(errors.Unavailable, "nats bus is disconnected: the program has closed or drained its "+
		"connection, or nats.go has stopped reconnecting")
	errUnconfirmed = errors.NewErrorf(errors.Unavailable, "the connection to the nats server was lost before the server "+
		"confirmed the frame: it may or may not have been delivered")
)

// watch monitors the connection status, probes the server and confirms pending reports until the
// bus is closed.
func (b *Bus) watch() {
	probe := time.NewTicker(b.options.probeInterval)
	defer probe.Stop()
	confirmTimer := time.NewTimer(confirmInterval)
	defer confirmTimer.Stop()
	confirming := &flush{}
	for {
		select {
		case status := <-b.statuses:
			b.onStatus(status)
		case <-probe.C:
			b.checkOutage()
			// ping waits for at most one probe interval. If it takes longer, nats.go is blocked in
			// a write.
			if limit := b.options.probeInterval * 3 / 2; b.flusher.stalled(limit) {
				b.markDisconnected(noAnswerError(limit))
			}
			b.flusher.request()
			b.countDropped()
			b.dropStale()
		case <-b.reports.firstAdded:
			confirmTimer.Reset(confirmInterval)
		case <-confirmTimer.C:
			b.reports.rotate()
			confirming = b.flusher.request()
		case <-confirming.done:
			if confirming.err == nil {
				b.reports.confirmPrevious()
			}
			if b.reports.pending() {
				confirmTimer.Reset(confirmInterval)
			}
			confirming = &flush{}
		case <-b.ctx.Done():
			return
		}
	}
}

// onStatus handles a status change reported by nats.go. CONNECTED alone does not mark the bus as
// connected. The requested flush does so, because it succeeds only after the server has processed
// the subscriptions that nats.go has sent again.
func (b *Bus) onStatus(status nats.Status) {
	switch status {
	case nats.CONNECTED:
		b.flusher.request()
	case nats.CLOSED:
		b.onConnClosed()
	case nats.DRAINING_SUBS, nats.DRAINING_PUBS:
		b.markDisconnected(errConnClosed)
	default:
		b.markDisconnected(errConnLost)
	}
}

// checkOutage is called at each probe. While nats.go is reconnecting, checkOutage records why the
// last attempt failed. LastError does not return dial errors. They are known only if the bus itself
// has opened the connection. checkOutage also detects a closed connection, because nats.go drops a
// status change while the channel b.statuses is full.
func (b *Bus) checkOutage() {
	if b.state.err() == nil {
		return
	}
	nc := b.conn()
	switch nc.Status() {
	case nats.CLOSED:
		b.onConnClosed()
	case nats.RECONNECTING:
		err := nc.LastError()
		if err == nil && b.owner != nil && b.owner.reconnectErr.Load() != nil {
			err = *b.owner.reconnectErr.Load()
		}
		if err != nil {
			b.explainOutage(err)
		}
	default:
	}
}

// markDisconnected makes Publish and Subscribe fail until markConnected is called. If the bus was
// connected, markDisconnected also fails the pending reports and emits an event.
func (b *Bus) markDisconnected(reason error) {
	if !b.state.setDown(reason) {
		return
	}
	b.disconnects.Add(1)
	b.failReports()
	// The server checks permissions again after a reconnect.
	b.noResponders.denied.Store(false)
	b.privateDenied.Store(false)
	b.events.Put(bus.Event{Kind: bus.Disconnected, Err: reason})
}

// markConnected is called after a successful flush. epoch is the connection epoch that was read
// before the flush's PING was sent. If the bus was disconnected and the connection has not failed
// since that epoch, markConnected marks the bus as connected and emits an event.
func (b *Bus) markConnected(epoch uint64) {
	if b.state.err() == nil {
		return
	}
	// A publisher may have passed checkConnected just before the connection failed, and added its
	// report after markDisconnected failed the pending reports. Fail this report now.
	b.failReports()
	b.readServerInfo()
	if b.state.setUp(epoch) {
		b.events.Put(bus.Event{Kind: bus.Reconnected})
	}
}

func (b *Bus) failReports() {
	failed := b.reports.failAll()
	b.publishErrors.Add(uint64(len(failed)))
	for _, report := range failed {
		report.Delivered(bus.Unknown, errUnconfirmed)
	}
}
