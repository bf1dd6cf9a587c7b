package natsbus

import (
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// confirmInterval is the pause after a frame with a report before the bus asks the server whether it has seen all
// frames. It is a lot longer than a publisher is held up between taking its token and sending its frame, or a frame of
// a queue is on its way from process to process.
const confirmInterval = 250 * time.Millisecond

var watchedStatuses = []nats.Status{
	nats.CONNECTED, nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED, nats.DRAINING_SUBS, nats.DRAINING_PUBS,
}

var (
	errNotConnected = errors.NewErrorf(errors.Unavailable, "nats bus is not connected: no server was in reach so far")
	errConnLost     = errors.NewErrorf(errors.Unavailable, "nats bus is disconnected: the connection to the server was lost")
	errConnClosed   = errors.NewErrorf(errors.Unavailable, "nats bus is disconnected: its connection was closed or drained by the "+
		"program, or has given up to reconnect")
	errUnconfirmed = errors.NewErrorf(errors.Unavailable, "the connection to the nats server was lost before the server "+
		"confirmed the frame: it may or may not have taken it")
)

// watch follows the connection's status, probes it, and settles reports, until the bus is closed.
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
			if b.flusher.stalled(b.options.probeInterval * 3 / 2) { // nats.go is stuck in a write
				b.markDisconnected(b.noAnswerError())
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

func (b *Bus) onStatus(status nats.Status) {
	switch status {
	case nats.CONNECTED:
		b.flusher.request() // when it succeeds, nats.go has sent all subscriptions again
	case nats.CLOSED, nats.DRAINING_SUBS, nats.DRAINING_PUBS:
		b.markDisconnected(errConnClosed)
	default:
		b.markDisconnected(errConnLost)
	}
}

// markDisconnected makes Publish and Subscribe fail until reachable is called.
func (b *Bus) markDisconnected(reason error) {
	if !b.conn.setDown(reason) {
		return
	}
	b.disconnects.Add(1)
	b.failReports()
	b.noResponders.denied.Store(false) // the server that comes next decides anew
	b.events.Put(bus.Event{Kind: bus.Disconnected, Err: reason})
}

// markConnected is called after a round trip that began when the link had age.
func (b *Bus) markConnected(epoch uint64) {
	if b.conn.err() == nil {
		return
	}
	b.failReports() // of those who were publishing when the link failed
	b.readServerInfo()
	if b.conn.setUp(epoch) {
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
