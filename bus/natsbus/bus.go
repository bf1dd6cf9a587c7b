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

// Bus implements bus.Bus over a NATS connection. Create it with [New] or bus.Open. All its methods
// may be called concurrently.
type Bus struct {
	nc      *nats.Conn
	options options
	// buffersOffline says that nc has a reconnect buffer: nc accepts messages while disconnected
	// and sends them after it has reconnected.
	buffersOffline     bool
	statuses           chan nats.Status
	detachErrorHandler func()
	// ctx ends when the bus is closed.
	ctx    context.Context //nolint:containedctx // the bus's goroutines outlive every caller's context
	cancel context.CancelFunc
	// workers counts the goroutines of the bus; Close waits for them.
	workers sync.WaitGroup
	done    chan struct{}
	// closeConn closes nc if the bus owns nc, and is nil otherwise.
	closeConn func()

	conn         connState
	combiner     *combiner
	flusher      flusher
	reports      reports
	noResponders noResponders
	events       lifecycle.EventQueue[bus.Event]
	asyncErrors  asyncErrors

	// inbound receives the messages of all NATS subscriptions. A nil message ends the dispatcher;
	// the barrier message asks it to send on barrierReached.
	inbound        chan *nats.Msg
	barrierReached chan struct{}
	// misroutedLog throttles the events of the dispatcher, which alone uses it.
	misroutedLog logThrottle
	// deniedLog throttles the events for denied publishing. Only nats.go's error handler uses it.
	deniedLog logThrottle

	// mu guards subscribers. It is never held during a call to nats.go that may block.
	mu          sync.RWMutex
	subscribers map[subKey]byRoutingKey

	// changeMu serializes changes of the NATS subscriptions and guards the fields below it. It is
	// locked before mu.
	changeMu   sync.Mutex
	closed     bool
	serverSubs map[subKey]*serverSub
	// stale says that the server may still hold a subscription that nats.go has forgotten, as long
	// as the connection has not reconnected since staleReconnects was read. See resync.go.
	stale           bool
	staleReconnects uint64

	maxPayload                                               atomic.Int64 // bytes; 0: unknown
	published, publishErrors, received, dropped, disconnects atomic.Uint64
}

var _ bus.Monitored = (*Bus)(nil)

// New returns a bus that uses nc. If nc is disconnected, so is the bus until nc has connected.
//
// New fails with code invalid_argument if nc is nil or an option is invalid, failed_precondition if
// nc was made with nats.NoEcho, and unavailable if nc is closed.
//
// The caller keeps ownership of nc and closes it after the bus. Several buses may share nc. New
// wraps the error handler of nc.
//
// Make nc with [ConnOptions]. Two of nats.go's defaults do not suit a bus. With a reconnect buffer,
// a frame published at the moment the connection breaks may be sent after the reconnect, however
// late that is. With the default write timeout of one minute, Publish blocks that long if the
// server stops reading.
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
		return errors.NewErrorf(errors.FailedPrecondition, "nats bus: connection was made with nats.NoEcho, so clients and "+
			"servers that share it cannot reach each other: connect without nats.NoEcho")
	case nc.IsClosed():
		return errors.NewErrorf(errors.Unavailable, "nats bus: connection is closed")
	}
	return nil
}

// start subscribes to the inbox and starts the goroutines of the bus.
func (b *Bus) start() error {
	if b.buffersOffline {
		b.options.logger.Warn("nats bus: the connection has a reconnect buffer, so a frame published while the connection " +
			"breaks may be sent late: connect with natsbus.ConnOptions or nats.ReconnectBufSize(-1)")
	}
	if b.nc.IsConnected() {
		b.readServerInfo()
	} else {
		b.conn.setDown(errNotConnected)
	}
	err := b.subscribeInbox()
	b.workers.Go(b.dispatch) // Close waits for all four
	b.workers.Go(func() { b.events.Run(b.ctx.Done(), b.options.onEvent) })
	b.workers.Go(b.runFlusher)
	b.workers.Go(b.watch)
	return err
}

// Stats returns the state and counters of the bus. It does not block.
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

// Close ends all subscriptions and returns when the last goroutine of the bus has ended. It closes
// the connection only if bus.Open made it. Close always returns nil and may be called repeatedly.
func (b *Bus) Close() error {
	serverSubs, first := b.closeServerSubs()
	if !first {
		<-b.done
		return nil
	}
	b.conn.close()
	b.cancel()
	for _, s := range serverSubs {
		_ = s.sub.Unsubscribe() // fails if nats.go has removed the subscription already
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

// Done returns a channel that is closed when Close has finished.
func (b *Bus) Done() <-chan struct{} { return b.done }
