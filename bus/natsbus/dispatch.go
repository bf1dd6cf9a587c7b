package natsbus

import (
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// barrier is a message that waitDelivered sends on inbound. When the dispatcher reaches it, all
// messages received before it have been delivered.
var barrier = new(nats.Msg)

// probe is the frame that Bus.Count publishes if the bus has no monitor. The dispatcher drops it.
var probe = wire.Probe()

// isProbe reports whether a frame is a probe. The comparison is cheap, because Go compares the
// lengths first.
func isProbe(frame []byte) bool { return string(frame) == string(probe) }

// dispatcher delivers the messages of all NATS subscriptions to the subscribers in this process.
// One goroutine runs it, so its fields need no mutex.
type dispatcher struct {
	telemetry     *telemetry
	conn          *connection
	publisher     *publisher
	subscriptions *subscriptions
	forwarder     *forwarder
	// inbound receives the messages of all NATS subscriptions. A nil message stops the dispatcher.
	// When the dispatcher receives the special message named barrier, it sends a value on
	// barrierReached.
	inbound        chan *nats.Msg
	barrierReached chan struct{}
	// lastForwardedSample is the time at which a sample (see direct.go) was last received on a
	// private subject.
	lastForwardedSample time.Time
}

func newDispatcher(p *publisher, u *subscriptions, f *forwarder) *dispatcher {
	return &dispatcher{
		telemetry: p.telemetry, conn: p.conn, publisher: p, subscriptions: u, forwarder: f,
		inbound: u.inbound, barrierReached: make(chan struct{}, 1),
	}
}

// waitDelivered waits until all messages that have already been received are delivered, or until
// the bus is closed. It must not run on the dispatcher's goroutine, and calls must not be
// concurrent.
func (d *dispatcher) waitDelivered() {
	select {
	case d.inbound <- barrier:
	case <-d.conn.ctx.Done():
		return
	}
	select {
	case <-d.barrierReached:
	case <-d.conn.ctx.Done():
	}
}

// run delivers inbound messages until the bus is closed, in the order in which the server sent
// them. To preserve this order, one goroutine serves all subscriptions. Handlers must not block.
func (d *dispatcher) run() {
	var held []*nats.Msg
	for m := <-d.inbound; m != nil; m = <-d.inbound {
		// After a reconnect, responses cannot be published until the bus is marked as connected.
		// Hold requests until then, unless there are too many. Once the bus is connected, the
		// flusher sends a barrier, which wakes this loop.
		if len(held) < cap(d.inbound) && m.Sub != nil && d.conn.reconnecting() {
			held = append(held, m)
			continue
		}
		for _, m := range held {
			d.handle(m)
		}
		held = nil
		d.handle(m)
	}
}

// handle processes one message from inbound. m is not nil, because a nil message stops run.
func (d *dispatcher) handle(m *nats.Msg) {
	switch {
	case m.Sub == nil:
		// This does not block, because the channel has room for one value and there is at most one
		// barrier at a time.
		d.barrierReached <- struct{}{}
	case m.Sub.Subject == d.publisher.noResponders.inboxSubject:
		d.publisher.onReply(m)
	default:
		d.telemetry.Received.Add(1)
		d.deliver(m)
	}
}

// deliver passes a frame to the local subscribers for its subject and routing key. Handlers may
// keep m.Data, because nats.go allocates it for each message.
func (d *dispatcher) deliver(m *nats.Msg) {
	if isProbe(m.Data) {
		return
	}
	queue := m.Sub.Queue != ""
	if queue && d.subscriptions.subjects.isPrivate(m.Sub.Subject) {
		d.deliverPrivate(m)
		return
	}
	subscribers := d.subscriptions.subscribers.of(subKey{subject: m.Sub.Subject, queue: queue})
	unkeyed := subscribers[""]
	// If no subscriber has a routing key, as on a client's response subjects, the key of the frame
	// does not matter and is not parsed.
	if unkeyed != nil && len(subscribers) == 1 {
		deliverTo(unkeyed, m.Data, queue)
		return
	}
	key, err := wire.RoutingKey(m.Data)
	if err != nil {
		// psrpc and dynpsrpc peers do not send such frames.
		d.telemetry.drop(dropMalformed, m.Subject, errors.NewErrorf(errors.InvalidArgument, "subject %.200s: %w", m.Subject, err))
		return
	}
	delivered := len(key) > 0 && deliverTo(subscribers[string(key)], m.Data, queue)
	// Subscribers without a routing key receive broadcast frames with any key. From a queue, they
	// receive only frames that no subscriber for the key has received.
	if !delivered || !queue {
		delivered = deliverTo(unkeyed, m.Data, queue) || delivered
	}
	if queue && isSample(m.Reply) {
		d.acknowledgeSample(m, key, delivered)
	}
	if !delivered && queue {
		d.forwarder.onMisrouted(m, string(key), m.Sub.Subject)
	}
}

// deliverPrivate passes a frame that has arrived on a private subject to a local subscriber.
func (d *dispatcher) deliverPrivate(m *nats.Msg) {
	key, err := wire.RoutingKey(m.Data)
	shared, ok := d.subscriptions.subjects.shared(m.Sub.Subject, string(key))
	if err != nil || !ok {
		d.telemetry.drop(dropMalformed, m.Subject, errors.NewErrorf(errors.InvalidArgument,
			"subject %.200s: the frame has another routing key than the subject", m.Subject))
		return
	}
	if isSample(m.Reply) {
		d.lastForwardedSample = time.Now()
	}
	if !d.subscriptions.subscribers.of(subKey{subject: shared, queue: true})[string(key)].DeliverQueue(m.Data) {
		d.forwarder.onMisrouted(m, string(key), shared)
	}
}

// deliverTo passes frame to one of the subscribers if queue is true, and to all of them otherwise.
// It reports whether any subscriber received the frame.
func deliverTo(subscribers *fanout.Subscribers, frame []byte, queue bool) bool {
	if queue {
		return subscribers.DeliverQueue(frame)
	}
	return subscribers.DeliverBroadcast(frame) > 0
}

// acknowledgeSample acknowledges a sample (see direct.go) if frames are being misrouted. It sends
// the routing key to the publisher. served reports whether this process serves the routing key.
func (d *dispatcher) acknowledgeSample(m *nats.Msg, key []byte, served bool) {
	isMisrouting := !served || time.Since(d.lastForwardedSample) < misroutingWindow
	if isMisrouting && d.publisher.noResponders.peerReply(m.Reply) != "" {
		// If this fails, the publisher treats the sample as not acknowledged.
		_ = d.conn.get().Publish(m.Reply, key)
	}
}
