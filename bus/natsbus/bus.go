package natsbus

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

// Bus is the bus over NATS. Make one with [New] or bus.Open.
type Bus struct {
	nc                 *nats.Conn
	options            options
	buffersOffline     bool // nc may keep what is published while it is disconnected
	statuses           chan nats.Status
	detachErrorHandler func()          // ends hearing of nc's errors
	ctx                context.Context //nolint:containedctx // ends when the bus is closed
	cancel             context.CancelFunc
	workers            sync.WaitGroup // the bus's goroutines
	done               chan struct{}
	closeConn          func() // nil if nc is not the bus's own

	conn         connState
	combiner     *combiner
	flusher      flusher
	reports      reports
	noResponders noResponders
	events       lifecycle.EventQueue[bus.Event]
	asyncErrors  asyncErrors

	inbound        chan *nats.Msg // all that comes; nil ends the dispatcher, marker lets it call
	barrierReached chan struct{}  // the dispatcher has come to the marker
	misroutedLog   logThrottle    // the dispatcher's
	deniedLog      logThrottle    // those of publishing, the error handler's

	mu          sync.RWMutex // never held while waiting for nats.go
	subscribers map[subKey]byRoutingKey

	changeMu        sync.Mutex // of subscriptions; taken before mu
	closed          bool
	serverSubs      map[subKey]*serverSub
	stale           bool   // the server may have subscriptions that nats.go has forgotten, unless
	staleReconnects uint64 // this is no longer the number of reconnects

	maxPayload                                               atomic.Int64 // bytes; 0: not known
	published, publishErrors, received, dropped, disconnects atomic.Uint64
}

var _ bus.Monitored = (*Bus)(nil)

// New returns a bus over nc. It fails with code invalid_argument if an option is wrong, with failed_precondition if nc
// does not echo, and with unavailable if it is closed. If nc is not connected at the moment, neither is the bus until
// nc is.
//
// nc remains the caller's, who closes it after the bus; several buses may share it. Connect with [ConnOptions], or else
// know this: a connection with a reconnect buffer (nats.go's default) may send a frame that was published in the moment
// in which the link broke when it is back, however late that is; and one whose write timeout is long (nats.go's default
// is a minute) lets Publish wait that long if the server stops reading. New adds a handler to the connection's error
// handler.
func New(nc *nats.Conn, opts ...Option) (*Bus, error) {
	options, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if err := checkConn(nc); err != nil {
		return nil, err
	}
	b := &Bus{
		nc: nc, options: options,
		buffersOffline: nc.Opts.ReconnectBufSize >= 0,
		statuses:       nc.StatusChanged(watchedStatuses...),
		done:           make(chan struct{}),
		combiner:       newCombiner(),
		flusher:        newFlusher(),
		reports:        newReports(),
		noResponders:   noResponders{inboxPrefix: nc.NewInbox() + "."},
		events:         lifecycle.NewEventQueue[bus.Event](),
		asyncErrors:    asyncErrors{changed: make(chan struct{}), skipped: nc.LastError()},
		inbound:        make(chan *nats.Msg, options.pendingLimit),
		barrierReached: make(chan struct{}, 1),
		subscribers:    map[subKey]byRoutingKey{},
		serverSubs:     map[subKey]*serverSub{},
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.detachErrorHandler = b.attachErrorHandler()
	if err := b.start(); err != nil {
		_ = b.Close() // always nil
		return nil, err
	}
	return b, nil
}

func checkConn(nc *nats.Conn) error {
	switch {
	case nc == nil:
		return errors.NewErrorf(errors.InvalidArgument, "nats bus: connection is nil")
	case nc.Opts.NoEcho:
		return errors.NewErrorf(errors.FailedPrecondition, "nats bus: connection was made with nats.NoEcho, so those who "+
			"share it would not reach each other: connect without")
	case nc.IsClosed():
		return errors.NewErrorf(errors.Unavailable, "nats bus: connection is closed")
	}
	return nil
}

func (b *Bus) start() error {
	if b.buffersOffline {
		b.options.logger.Warn("nats bus: the connection has a reconnect buffer, so a frame published in the moment in which " +
			"the link breaks may be sent late: connect with nats.ReconnectBufSize(-1) or natsbus.ConnOptions")
	}
	if b.nc.IsConnected() {
		b.readServerInfo()
	} else {
		b.conn.setDown(errNotConnected)
	}
	err := b.subscribeInbox()
	b.workers.Go(b.dispatch) // Close waits for these four
	b.workers.Go(func() { b.events.Run(b.ctx.Done(), b.options.onEvent) })
	b.workers.Go(b.runFlusher)
	b.workers.Go(b.watch)
	return err
}

// Stats returns the bus's counters.
func (b *Bus) Stats() bus.Stats {
	return bus.Stats{
		Connected:     b.conn.err() == nil,
		Disconnects:   b.disconnects.Load(),
		Published:     b.published.Load(),
		PublishErrors: b.publishErrors.Load(),
		Received:      b.received.Load(),
		Dropped:       b.dropped.Load(),
	}
}

// Close ends all subscriptions and returns when the last goroutine of the bus has ended. It always returns nil.
func (b *Bus) Close() error {
	serverSubs, first := b.closeServerSubs()
	if !first {
		<-b.done
		return nil
	}
	b.conn.close()
	b.cancel()
	for _, r := range serverSubs {
		_ = r.sub.Unsubscribe() // fails if nats.go has ended it already
	}
	b.noResponders.unsubscribe()
	b.closeSubscribers()
	b.inbound <- nil
	b.workers.Wait()
	b.nc.RemoveStatusListener(b.statuses)
	b.detachErrorHandler()
	if b.closeConn != nil {
		b.closeConn()
	}
	close(b.done)
	return nil
}

// Done is closed when the bus has been closed.
func (b *Bus) Done() <-chan struct{} { return b.done }
