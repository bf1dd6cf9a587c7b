package natsbus

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// nats.go reconnects after most failures, but closes the connection after a protocol error, for
// example if a payload has exceeded a limit. A single caller or peer could thus end the bus for all
// others. A bus that owns its connection therefore dials a new one. A bus that does not own its
// connection ends, because it does not know the program's credentials and handlers.

// owner dials and closes the connections of a bus that was created by bus.Open.
type owner struct {
	// dial connects to the servers. The returned function closes the connection.
	dial func(ctx context.Context) (nc *nats.Conn, closeConn func(), err error)
	// closeConn closes the current connection. While the method watch is running, only watch uses
	// it. Afterwards, only Close uses it.
	closeConn func()
	// reconnectErr is the error of the last attempt of nats.go to reconnect.
	reconnectErr atomic.Pointer[error]
}

// onConnClosed is called after nats.go has closed the connection for good.
func (b *Bus) onConnClosed() {
	reason := errConnClosed
	if err := b.conn().LastError(); err != nil {
		reason = errors.NewErrorf(errors.Unavailable, "nats bus is disconnected: nats.go has closed the connection: %w", err)
	}
	b.markDisconnected(reason)
	if b.owner != nil {
		b.redial()
		return
	}
	// closeWith waits for watch, which calls onConnClosed, so closeWith must run on another
	// goroutine.
	go func() {
		// The error is always nil.
		_ = b.closeWith(errors.NewErrorf(errors.Unavailable, "%w: %w", bus.ErrClosed, reason))
	}()
}

// redial dials until a new connection has replaced the closed one, or until the bus is closed.
func (b *Bus) redial() {
	for attempt := 1; ; attempt++ {
		select {
		case <-time.After(reconnectDelay(attempt)):
		case <-b.ctx.Done():
			return
		}
		nc, closeConn, err := b.owner.dial(b.ctx)
		if err == nil {
			b.replaceConn(nc, closeConn)
			return
		}
		b.explainOutage(err)
	}
}

// replaceConn closes the connection of the bus, replaces it by nc, and renews all subscriptions.
// closeConn closes nc. The following flush marks the bus as connected. If nc fails in the meantime,
// watch handles the change of its status.
func (b *Bus) replaceConn(nc *nats.Conn, closeConn func()) {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	if b.closed {
		closeConn()
		return
	}
	b.conn().RemoveStatusListener(b.statuses)
	b.detachErrorHandler()
	b.owner.closeConn()
	b.owner.closeConn = closeConn
	b.statuses = nc.StatusChanged(watchedStatuses...)
	b.detachErrorHandler = b.attachErrorHandler(nc)
	b.nc.Store(nc)
	b.stale = false
	// This fails only if nc has been closed.
	_ = b.subscribeInbox()
	for _, s := range b.serverSubs {
		// This fails only if nc has been closed.
		_ = b.subscribeNATS(s)
	}
	b.flusher.request()
}

// explainOutage records why reconnecting fails and emits an event if the reason has changed. At the
// beginning of an outage it does nothing, because a server that restarts refuses connections at
// first.
func (b *Bus) explainOutage(err error) {
	reason := errors.NewErrorf(errors.Unavailable, "nats bus is disconnected: the last error is: %w", err)
	if !b.state.explain(reason, b.options.probeInterval/4) {
		return
	}
	if _, ok := b.outageLog.Allow(logInterval); ok {
		b.events.Put(bus.Event{Kind: bus.Disconnected, Err: reason})
	}
}
