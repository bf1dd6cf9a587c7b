package natsbus

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus/internal/flush"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/logthrottle"
	"github.com/dynpsrpc/dynpsrpc/internal/timer"
)

var watchedStatuses = []nats.Status{
	nats.CONNECTED, nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED, nats.DRAINING_SUBS, nats.DRAINING_PUBS,
}

// connection is the connection of a bus: the current *nats.Conn, its state, and what the server has
// announced. All parts of the bus use it. Its methods are safe for concurrent use unless their
// comments say otherwise.
//
// current, state, flusher and asyncErrors synchronize themselves. The atomic fields at the end may
// change whenever the bus connects. No mutex guards any of these fields, so Publish reads them
// without waiting.
type connection struct {
	telemetry     *telemetry
	probeInterval time.Duration
	// ctx is canceled when the bus is closed.
	ctx    context.Context //nolint:containedctx // the bus's goroutines outlive every caller's context
	cancel context.CancelFunc
	// owner dials a new connection if nats.go has closed the current one. It is nil if the bus does
	// not own its connection.
	owner *owner
	// buffersOffline reports whether the connection has a reconnect buffer. If so, nats.go accepts
	// messages while it is disconnected and sends them after it has reconnected.
	buffersOffline bool

	// current is the connection in use. If nats.go closes a connection that the bus owns, attach
	// replaces it.
	current atomic.Pointer[nats.Conn]
	// statuses and detachErrorHandler belong to current. While supervisor.watch is running, only
	// watch uses them. Afterwards, only Bus.Close uses them.
	statuses           chan nats.Status
	detachErrorHandler func()

	state       connState
	flusher     *flush.Flusher
	asyncErrors asyncErrors
	// outageLog throttles the events that say why reconnecting fails. Only supervisor.watch uses
	// it.
	outageLog logthrottle.Throttle

	// maxPayload is the server's limit on the size of a message, in bytes. It is 0 while the limit
	// is unknown.
	maxPayload atomic.Int64
	// clustered reports whether the current server belongs to a cluster.
	clustered atomic.Bool
	// headers reports whether the current server supports headers.
	headers atomic.Bool
	// privateDenied reports whether the server has denied a private subject since the bus
	// connected.
	privateDenied atomic.Bool
}

// owner dials and closes the connections of a bus that was created by bus.Open.
type owner struct {
	// dial connects to the servers. The returned function closes the connection.
	dial func(ctx context.Context) (nc *nats.Conn, closeConn func(), err error)
	// closeConn closes the current connection. While supervisor.watch is running, only watch uses
	// it. Afterwards, only Bus.Close uses it.
	closeConn func()
	// reconnectErr is the error of nats.go's last failed attempt to reconnect. It is nil if no
	// attempt has failed yet.
	reconnectErr atomic.Pointer[error]
}

func newConnection(nc *nats.Conn, owner *owner, o *options, telemetry *telemetry) *connection {
	c := &connection{
		telemetry: telemetry, probeInterval: o.ProbeInterval, owner: owner,
		buffersOffline: nc.Opts.ReconnectBufSize >= 0,
		flusher:        flush.New(o.ProbeInterval),
		asyncErrors:    asyncErrors{changed: make(chan struct{}), skipped: nc.LastError()},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// attach makes nc the current connection. onError is called with each asynchronous error of nc.
func (c *connection) attach(nc *nats.Conn, onError func(error)) {
	c.statuses = nc.StatusChanged(watchedStatuses...)
	c.detachErrorHandler = wrapErrorHandler(nc, onError)
	c.current.Store(nc)
}

// detach undoes attach, except that the current connection remains.
func (c *connection) detach() {
	c.get().RemoveStatusListener(c.statuses)
	c.detachErrorHandler()
}

// get returns the current connection.
func (c *connection) get() *nats.Conn { return c.current.Load() }

// check returns an error if the bus is disconnected or closed. If the connection has a reconnect
// buffer, check also checks the status reported by nats.go. This status changes shortly before the
// state of the bus. In between, nats.go would buffer the frame and send it late.
func (c *connection) check() error {
	if err := c.state.err(); err != nil {
		return err
	}
	if c.buffersOffline && c.get().Status() != nats.CONNECTED {
		return flush.ErrConnLost
	}
	return nil
}

// reconnecting reports whether nats.go is connected but the bus is still waiting for the server to
// answer a PING. Until then, responses to received messages cannot be published.
func (c *connection) reconnecting() bool { return c.state.reconnecting() && c.get().IsConnected() }

// readServerInfo records the maximum payload of the connected server and whether the server belongs
// to a cluster and supports headers. All of these may change when the bus reconnects to another
// server.
func (c *connection) readServerInfo() {
	nc := c.get()
	c.maxPayload.Store(nc.MaxPayload())
	c.clustered.Store(nc.ConnectedClusterName() != "")
	supported := nc.HeadersSupported()
	c.headers.Store(supported)
	if !supported {
		c.telemetry.logger.Warn("nats bus: the server does not support headers and cannot report missing subscribers: calls " +
			"without a server end at their timeout")
	}
}

// waitFlushed waits for a flush that begins after the call. It returns the error of the flush, the
// error of ctx if ctx ends first, or bus.ErrClosed if the bus is closed.
func (c *connection) waitFlushed(ctx context.Context) error {
	pending := c.flusher.Request()
	select {
	case <-pending.Done():
		// A flush also fails if the bus is closed in the meantime.
		if err := pending.Err(); err == nil || c.ctx.Err() == nil {
			return err
		}
		return bus.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ctx.Done():
		return bus.ErrClosed
	}
}

// waitAsyncErrors is called after a PING has been answered. If LastError is a permission error,
// waitAsyncErrors waits until the error handler has been called with it. It waits at most
// handlerTimeout.
func (c *connection) waitAsyncErrors() {
	ctx, cancel := timer.WithTimeout(c.ctx, handlerTimeout)
	defer cancel()
	for {
		last := c.get().LastError()
		if !errors.Is(last, nats.ErrPermissionViolation) {
			return
		}
		seen, changed := c.asyncErrors.seen(last)
		if seen {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if c.ctx.Err() == nil {
				// The error handler has not been called, probably because the program has replaced
				// it.
				c.asyncErrors.skip(last)
			}
			return
		}
	}
}

// waitRefusal reports whether the server has refused another subscription. before is the number of
// refusals that asyncErrors.refused returned earlier. If LastError is a refusal, waitRefusal waits
// until the error handler has been called with it. It waits at most refusalTimeout, because
// LastError may also be an earlier refusal, which looks the same.
func (c *connection) waitRefusal(ctx context.Context, before uint64) bool {
	if refusals, _ := c.asyncErrors.refused(); refusals != before {
		return true
	}
	if !errors.Is(c.get().LastError(), nats.ErrMaxSubscriptionsExceeded) {
		return false
	}
	ctx, cancel := timer.WithTimeout(ctx, refusalTimeout)
	defer cancel()
	for {
		refusals, changed := c.asyncErrors.refused()
		if refusals != before {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		case <-c.ctx.Done():
			return false
		}
	}
}

// onPrivateDenied is called when the server has denied a private subject (see subjects). Until the
// bus reconnects, it does not use private subjects, and returns misrouted frames to their queue
// group.
func (c *connection) onPrivateDenied(err error) {
	if c.privateDenied.CompareAndSwap(false, true) {
		c.telemetry.logger.Warn("nats bus: the server denied a private subject of a queue, so queue frames may be lost if the "+
			"processes on a subject serve different methods", "error", permissionError(err))
	}
}

// explainOutage records why reconnecting fails. If the reason has changed, it emits an event, but
// at most one per logInterval. At the beginning of an outage it does nothing, because a server that
// restarts refuses connections at first. Only supervisor.watch calls explainOutage.
func (c *connection) explainOutage(err error) {
	reason := errors.NewErrorf(errors.Unavailable, "nats bus is disconnected: the last error is: %w", err)
	if !c.state.explain(reason, c.probeInterval/4) {
		return
	}
	if _, ok := c.outageLog.Allow(logInterval); ok {
		c.telemetry.events.Disconnected(reason)
	}
}
