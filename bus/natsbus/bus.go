package natsbus

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/dropcount"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/logthrottle"
)

// logInterval is the minimum time between two events about the same problem.
const logInterval = 10 * time.Second

// Bus implements bus.Bus over a NATS connection. Create one with [New] or bus.Open. All methods are
// safe for concurrent use.
type Bus struct {
	// nc is the current connection. If nats.go closes a connection that the bus owns, watch
	// replaces nc.
	nc      atomic.Pointer[nats.Conn]
	options options
	// owner dials a new connection if nats.go has closed the current one. It is nil if the bus does
	// not own its connection.
	owner *owner
	// buffersOffline reports whether nc has a reconnect buffer. If so, nc accepts messages while it
	// is disconnected and sends them after it has reconnected.
	buffersOffline bool
	// privatePrefix is the beginning of all private subjects. See private.go.
	privatePrefix string
	// maxSubject is the maximum length of a subject in bytes.
	maxSubject int
	// statuses and detachErrorHandler belong to nc. While the method watch is running, only watch
	// uses them. Afterwards, only Close uses them.
	statuses           chan nats.Status
	detachErrorHandler func()
	// ctx is canceled when the bus is closed.
	ctx    context.Context //nolint:containedctx // the bus's goroutines outlive every caller's context
	cancel context.CancelFunc
	// workers tracks the goroutines started by the bus. Close waits for them.
	workers sync.WaitGroup
	done    chan struct{}

	state        connState
	combiner     *combiner
	flusher      flusher
	reports      reports
	noResponders noResponders
	retained     retained
	unserved     unserved
	directRoutes directRoutes
	events       lifecycle.EventQueue[bus.Event]
	asyncErrors  asyncErrors

	// inbound receives the messages of all NATS subscriptions. A nil message stops the dispatcher.
	// When the dispatcher receives the message barrier, it sends a value on barrierReached. See
	// dispatch.go.
	inbound        chan *nats.Msg
	barrierReached chan struct{}
	// lastForwardedSample is the time at which a sample (see direct.go) was last received on a
	// private subject. Only the dispatcher uses it.
	lastForwardedSample time.Time
	// drops counts the frames that the bus has dropped.
	drops dropcount.Counter
	// deniedLog throttles the events for denied publications. Only nats.go's error handler uses it.
	deniedLog logthrottle.Throttle
	// outageLog throttles the events that say why reconnecting fails. Only watch uses it.
	outageLog logthrottle.Throttle
	// refusedLog throttles the events for refused subscriptions. Only nats.go's error handler uses
	// it.
	refusedLog logthrottle.Throttle

	// mu guards subscribers. It is never held while calling a nats.go function that may block.
	mu          sync.RWMutex
	subscribers map[subKey]byRoutingKey

	// changeMu serializes changes to the NATS subscriptions and guards the fields that follow it in
	// this group. It is locked before mu.
	changeMu   sync.Mutex
	closed     bool
	serverSubs map[subKey]*serverSub
	// stale reports whether the server may still have a subscription that nats.go has already
	// removed. The flag is relevant only while the connection's number of reconnects equals
	// staleReconnects, because a later reconnect removes the subscription from the server. See
	// resync.go.
	stale           bool
	staleReconnects uint64

	// maxPayload is the server's limit on the size of a message, in bytes. It is 0 while the limit
	// is unknown.
	maxPayload atomic.Int64
	// privateDenied reports whether the server has denied a private subject since the bus
	// connected.
	privateDenied atomic.Bool
	// clustered reports whether the current server belongs to a cluster.
	clustered                                       atomic.Bool
	published, publishErrors, received, disconnects atomic.Uint64
}

var (
	_ bus.Monitored = (*Bus)(nil)
	_ bus.Logging   = (*Bus)(nil)
)

// New returns a bus that uses nc. If nc is disconnected, the bus is disconnected until nc connects.
//
// If nats.go closes nc for good, the bus ends: it emits a Disconnected event and closes its Done
// channel. This happens if the program closes or drains nc, or if the server reports a protocol
// error. For example, the server may have lowered its payload limit after the bus had checked the
// size of a frame. A bus created by bus.Open dials a new connection instead.
//
// New returns an error with code invalid_argument if nc is nil or an option is invalid. The code is
// failed_precondition if nc was created with nats.NoEcho, and unavailable if nc is closed.
//
// The caller keeps ownership of nc and should close it after closing the bus. Several buses may
// share nc. New wraps nc's error handler.
//
// Create nc with [ConnOptions], because two defaults of nats.go are unsuitable for a bus. With a
// reconnect buffer, a frame published just as the connection breaks may be sent after the
// reconnect, no matter how much later that is. With the default write timeout, Publish can block
// for one minute if the server stops reading.
func New(nc *nats.Conn, opts ...Option) (*Bus, error) {
	return newBus(nc, nil, opts)
}

// newBus returns a bus that uses nc. owner is nil if the caller of New owns nc. If newBus fails,
// the caller must close nc.
func newBus(nc *nats.Conn, owner *owner, opts []Option) (*Bus, error) {
	options, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if err := checkConn(nc); err != nil {
		return nil, err
	}
	inboxPrefix := nc.NewInbox() + "."
	maxSubject := maxSubjectSize(options.maxControlLine, inboxPrefix)
	if maxSubject <= 0 {
		return nil, errors.NewErrorf(errors.InvalidArgument, "nats bus: an inbox prefix of %d bytes leaves no room for a subject "+
			"in a control line of %d bytes", len(inboxPrefix), options.maxControlLine)
	}
	b := &Bus{
		options: options, owner: owner,
		privatePrefix:  options.prefix + privatePrefix,
		maxSubject:     maxSubject,
		buffersOffline: nc.Opts.ReconnectBufSize >= 0,
		statuses:       nc.StatusChanged(watchedStatuses...),
		done:           make(chan struct{}),
		combiner:       newCombiner(),
		flusher:        newFlusher(),
		reports:        newReports(),
		noResponders:   noResponders{inboxPrefix: inboxPrefix, inboxSubject: inboxPrefix + ">"},
		unserved:       unserved{keys: map[queueKey]*unservedKey{}},
		events:         lifecycle.NewEventQueue[bus.Event](),
		asyncErrors:    asyncErrors{changed: make(chan struct{}), skipped: nc.LastError()},
		inbound:        make(chan *nats.Msg, options.pendingLimit),
		barrierReached: make(chan struct{}, 1),
		subscribers:    map[subKey]byRoutingKey{},
		serverSubs:     map[subKey]*serverSub{},
	}
	b.nc.Store(nc)
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.detachErrorHandler = b.attachErrorHandler(nc)
	if err := b.start(); err != nil {
		// The caller closes nc, so Close must leave it open.
		b.owner = nil
		// Close always returns nil.
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

// Format implements fmt.Formatter. It prints only the name of the type: the fields may contain
// passwords, and other goroutines may change them during printing.
func (b *Bus) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "natsbus.Bus") }

// conn returns the current connection.
func (b *Bus) conn() *nats.Conn { return b.nc.Load() }

func checkConn(nc *nats.Conn) error {
	switch {
	case nc == nil:
		return errors.NewErrorf(errors.InvalidArgument, "nats bus: connection is nil")
	case nc.Opts.NoEcho:
		return errors.NewErrorf(errors.FailedPrecondition, "nats bus: connection was made with nats.NoEcho, so clients and "+
			"servers that share it cannot reach each other: connect without nats.NoEcho")
	case nc.IsClosed():
		return errors.NewErrorf(errors.Unavailable, "nats bus: connection is closed")
	}
	return nil
}

// start subscribes to the inbox, which receives the server's no-responders statuses, and starts the
// bus's goroutines.
func (b *Bus) start() error {
	if b.buffersOffline {
		b.options.logger.Warn("nats bus: the connection has a reconnect buffer, so a frame published while the connection " +
			"breaks may be sent late: connect with natsbus.ConnOptions or nats.ReconnectBufSize(-1)")
	}
	if b.conn().IsConnected() {
		b.readServerInfo()
	} else {
		b.state.setDown(errNotConnected)
	}
	err := b.subscribeInbox()
	// Close waits until these four goroutines have ended.
	b.workers.Go(b.dispatch)
	b.workers.Go(func() { b.events.Run(b.ctx.Done(), b.options.onEvent) })
	b.workers.Go(b.runFlusher)
	b.workers.Go(b.watch)
	return err
}

// Stats returns the current state and the counters of the bus. It does not block.
func (b *Bus) Stats() bus.Stats {
	dropped, droppedBy := b.drops.Frames()
	return bus.Stats{
		Connected:     b.state.err() == nil,
		Disconnects:   b.disconnects.Load(),
		Published:     b.published.Load(),
		PublishErrors: b.publishErrors.Load(),
		Received:      b.received.Load(),
		Dropped:       dropped,
		DroppedBy:     droppedBy,
	}
}

// CountsReceivers returns false: NATS reports only whether a frame has no receivers.
func (b *Bus) CountsReceivers() bool { return false }

// Close ends all subscriptions and waits until all goroutines of the bus have finished. It closes
// the connection only if the bus was created by bus.Open. Close always returns nil. Calling it more
// than once is safe.
func (b *Bus) Close() error { return b.closeWith(bus.ErrClosed) }

// closeWith closes the bus. Its methods then return reason, which wraps bus.ErrClosed.
func (b *Bus) closeWith(reason error) error {
	serverSubs, first := b.closeServerSubs()
	if !first {
		<-b.done
		return nil
	}
	b.state.close(reason)
	b.cancel()
	for _, s := range serverSubs {
		// If this fails, nats.go has already removed the subscription.
		_ = s.sub.Unsubscribe()
	}
	b.noResponders.unsubscribe()
	b.closeSubscribers()
	b.inbound <- nil
	b.workers.Wait()
	b.conn().RemoveStatusListener(b.statuses)
	b.detachErrorHandler()
	if b.owner != nil {
		b.owner.closeConn()
	}
	close(b.done)
	return nil
}

// Logger implements [bus.Logging].
func (b *Bus) Logger() *slog.Logger { return b.options.logger }

// Done returns a channel that is closed when the bus has been closed. This happens when Close is
// called, or when nats.go closes a connection that the bus does not own.
func (b *Bus) Done() <-chan struct{} { return b.done }
