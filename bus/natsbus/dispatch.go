package natsbus

import (
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// barrier is a message that the flusher sends on inbound. When the dispatcher reaches it, all
// messages received before it have been delivered.
var barrier = new(nats.Msg)

// dispatch delivers inbound messages until the bus is closed, in the order in which the server sent
// them. To preserve this order, one goroutine serves all subscriptions. Handlers must not block.
func (b *Bus) dispatch() {
	var held []*nats.Msg
	for m := <-b.inbound; m != nil; m = <-b.inbound {
		// After a reconnect, responses cannot be published until the bus is marked as connected.
		// Hold requests until then, unless there are too many. The flusher then sends a barrier,
		// which wakes this loop.
		if len(held) < cap(b.inbound) && m.Sub != nil && b.reconnecting() {
			held = append(held, m)
			continue
		}
		for _, m := range held {
			b.handle(m)
		}
		held = nil
		b.handle(m)
	}
}

// reconnecting reports whether nats.go is connected but the bus is still waiting for the server to
// answer a PING. Until then, responses to received messages cannot be published.
func (b *Bus) reconnecting() bool { return b.state.reconnecting() && b.conn().IsConnected() }

// handle processes one message from inbound. m is not nil, because a nil message stops dispatch.
func (b *Bus) handle(m *nats.Msg) {
	switch {
	case m.Sub == nil:
		// This does not block, because the channel has room for one value and there is at most one
		// barrier at a time.
		b.barrierReached <- struct{}{}
	case m.Sub.Subject == b.noResponders.inboxSubject:
		b.onInboxMessage(m)
	default:
		b.received.Add(1)
		b.deliver(m)
	}
}

// deliver passes a frame to the local subscribers for its subject and routing key. Handlers may
// keep m.Data, because nats.go allocates it for each message.
func (b *Bus) deliver(m *nats.Msg) {
	if isProbe(m.Data) {
		return
	}
	queue := m.Sub.Queue != ""
	if queue && b.isPrivate(m.Sub.Subject) {
		b.deliverPrivate(m)
		return
	}
	subscribers := b.subscribersOf(subKey{subject: m.Sub.Subject, queue: queue})
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
		b.drop(dropMalformed, m.Subject, errors.NewErrorf(errors.InvalidArgument, "subject %.200s: %w", m.Subject, err))
		return
	}
	delivered := len(key) > 0 && deliverTo(subscribers[string(key)], m.Data, queue)
	// Subscribers without a routing key receive broadcast frames with any key. From a queue, they
	// receive only frames that no subscriber for the key has received.
	if !delivered || !queue {
		delivered = deliverTo(unkeyed, m.Data, queue) || delivered
	}
	if queue && isSample(m.Reply) {
		b.acknowledgeSample(m, key, delivered)
	}
	if !delivered && queue {
		b.onMisrouted(m, string(key), m.Sub.Subject)
	}
}

// deliverPrivate passes a frame that has arrived on a private subject to a local subscriber.
func (b *Bus) deliverPrivate(m *nats.Msg) {
	key, err := wire.RoutingKey(m.Data)
	shared, ok := b.sharedSubject(m.Sub.Subject, string(key))
	if err != nil || !ok {
		b.drop(dropMalformed, m.Subject, errors.NewErrorf(errors.InvalidArgument,
			"subject %.200s: the frame has another routing key than the subject", m.Subject))
		return
	}
	if isSample(m.Reply) {
		b.lastForwardedSample = time.Now()
	}
	if !b.subscribersOf(subKey{subject: shared, queue: true})[string(key)].DeliverQueue(m.Data) {
		b.onMisrouted(m, string(key), shared)
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
