package natsbus

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/internal/driver"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// Bus implements bus.Bus over a NATS connection. Create one with [New] or bus.Open. All methods are
// safe for concurrent use.
type Bus struct {
	// These parts contain the state of the bus, and the mutexes that guard it.
	telemetry     *telemetry
	conn          *connection
	publisher     *publisher
	subscriptions *subscriptions
	dispatcher    *dispatcher
	supervisor    *supervisor

	options  options
	subjects subjects
	// monitor is nil without the option WithMonitor.
	monitor monitor

	// workers tracks the goroutines started by the bus. Close waits for them.
	workers sync.WaitGroup
	done    chan struct{}
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
	monitor, monitorErr := newMonitor(options.monitorURL)
	if err := errors.Join(err, monitorErr); err != nil {
		return nil, err
	}
	if err := checkConn(nc); err != nil {
		return nil, err
	}
	inboxPrefix := nc.NewInbox() + "."
	subjects, err := newSubjects(&options, inboxPrefix)
	if err != nil {
		return nil, err
	}
	b := &Bus{
		telemetry: &telemetry{events: driver.NewEvents(), logger: options.Logger},
		options:   options, subjects: subjects, monitor: monitor,
		done: make(chan struct{}),
	}
	b.conn = newConnection(nc, owner, &b.options, b.telemetry)
	inbox := newNoResponders(b.conn, inboxPrefix)
	b.publisher = newPublisher(b.telemetry, b.conn, &b.subjects, inbox, options.sampleTimeout)
	b.subscriptions = newSubscriptions(b.conn, &b.subjects, inbox, make(chan *nats.Msg, options.pendingLimit))
	b.dispatcher = newDispatcher(b.publisher, b.subscriptions, newForwarder(b.publisher, options.trialTimeout))
	b.supervisor = &supervisor{
		telemetry: b.telemetry, conn: b.conn, publisher: b.publisher, subscriptions: b.subscriptions, dispatcher: b.dispatcher,
		confirmInterval: options.confirmInterval,
		onEnd: func(reason error) {
			// The error is always nil.
			_ = b.closeWith(errors.NewErrorf(errors.Unavailable, "%w: %w", bus.ErrClosed, reason))
		},
	}
	b.conn.attach(nc, b.supervisor.onAsyncError)
	if err := b.start(); err != nil {
		// The caller closes nc, so Close must leave it open.
		b.conn.owner = nil
		// Close always returns nil.
		_ = b.Close()
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

// start subscribes to the inbox, which receives the server's no-responders statuses, and starts the
// bus's goroutines.
func (b *Bus) start() error {
	if b.conn.buffersOffline {
		b.options.Logger.Warn("nats bus: the connection has a reconnect buffer, so a frame published while the connection " +
			"breaks may be sent late: connect with natsbus.ConnOptions or nats.ReconnectBufSize(-1)")
	}
	if b.conn.get().IsConnected() {
		b.conn.readServerInfo()
	} else {
		b.conn.state.setDown(errNotConnected)
	}
	err := b.publisher.noResponders.subscribe(b.dispatcher.inbound)
	// Close waits until these four goroutines have ended.
	b.workers.Go(b.dispatcher.run)
	b.workers.Go(func() { b.telemetry.events.Run(b.conn.ctx.Done(), b.options.OnEvent) })
	b.workers.Go(b.supervisor.flushes)
	b.workers.Go(b.supervisor.watch)
	return err
}

// Format implements fmt.Formatter. It prints only the name of the type: the fields may contain
// passwords, and other goroutines may change them during printing.
func (b *Bus) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "natsbus.Bus") }

// Publish passes frame to the NATS connection or queues it for another goroutine that is currently
// publishing. It returns one of the following errors:
//
//   - the context's error if ctx has ended
//   - bus.ErrClosed if the bus is closed
//   - bus.ErrFrameTooLarge if frame exceeds the server's limit
//   - an error with code unavailable if the bus is disconnected
//   - an error with code invalid_argument if the channel's subject is not a valid NATS subject or
//     is too long (see [WithMaxControlLine])
//
// The report receives zero receivers if the subject has no subscribers. It receives an error if the
// server denies permission or if the frame cannot be sent. The same happens if the connection fails
// before the server has confirmed the frame.
func (b *Bus) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	if err := nilarg.ContextErr(ctx); err != nil {
		return err
	}
	return b.publisher.publish(channel, frame, report)
}

// Subscribe registers handler to be called for each frame received on channel. It returns when the
// server has confirmed the subscription. Concurrent calls share the round trip for the
// confirmation. No round trip is needed if the bus has already subscribed to the channel's subject.
//
// Subscribe returns one of the following errors:
//
//   - the context's error if ctx ends first
//   - bus.ErrClosed if the bus is closed
//   - an error with code unavailable if the bus is disconnected
//   - an error with code permission_denied if the server denies the subscription
//   - an error with code resource_exhausted if the connection has too many subscriptions
//   - an error with code invalid_argument if the channel's subject is not a valid NATS subject or
//     is too long (see [WithMaxControlLine])
func (b *Bus) Subscribe(
	ctx context.Context, channel bus.Channel, mode bus.Mode, handler bus.Handler,
) (bus.Subscription, error) {
	if err := nilarg.SubscribeErr(ctx, handler); err != nil {
		return nil, err
	}
	return b.subscriptions.subscribe(ctx, channel, mode, handler)
}

// Stats returns the current state and the counters of the bus. It does not block.
func (b *Bus) Stats() bus.Stats { return b.telemetry.Stats(b.conn.state.err() == nil) }

// CountsReceivers returns false: NATS reports only whether a frame has no receivers.
func (b *Bus) CountsReceivers() bool { return false }

// Close ends all subscriptions and waits until all goroutines of the bus have finished. It closes
// the connection only if the bus was created by bus.Open. Close always returns nil. Calling it more
// than once is safe.
func (b *Bus) Close() error { return b.closeWith(bus.ErrClosed) }

// closeWith closes the bus. The methods of the bus then return reason, which wraps bus.ErrClosed.
func (b *Bus) closeWith(reason error) error {
	serverSubs, first := b.subscriptions.close()
	if !first {
		<-b.done
		return nil
	}
	b.conn.state.close(reason)
	b.conn.cancel()
	for _, s := range serverSubs {
		// If this fails, nats.go has already removed the subscription.
		_ = s.sub.Unsubscribe()
	}
	b.publisher.noResponders.unsubscribe()
	b.subscriptions.subscribers.close()
	b.dispatcher.inbound <- nil
	b.workers.Wait()
	b.conn.detach()
	if b.conn.owner != nil {
		b.conn.owner.closeConn()
	}
	close(b.done)
	return nil
}

// Logger implements [bus.Logging].
func (b *Bus) Logger() *slog.Logger { return b.options.Logger }

// Done returns a channel that is closed when the bus has been closed. This happens when Close is
// called, or when nats.go closes a connection that the bus does not own.
func (b *Bus) Done() <-chan struct{} { return b.done }
