package natsbus

import (
	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// barrier is a message that the flusher puts into inbound. When the dispatcher reaches it, all
// messages received before it have been delivered.
var barrier = new(nats.Msg)

// dispatch delivers inbound messages in the order in which the server sent them, until the bus is
// closed. One goroutine serves all subscriptions: this preserves the order between them and needs
// no goroutine per subscription, and it is safe because handlers must not block.
//
// After a reconnect, requests can arrive before the bus is connected again. Their responses could
// not be published, so dispatch holds such messages until the state changes. The barrier of the
// flush that ends the outage wakes the loop.
func (b *Bus) dispatch() {
	var held []*nats.Msg
	for m := <-b.inbound; m != nil; m = <-b.inbound {
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

// reconnecting reports whether nats.go is connected while the bus still waits for the server to
// confirm it, which means that received messages cannot be answered yet.
func (b *Bus) reconnecting() bool {
	err := b.conn.err()
	return (err == errConnLost || err == errNotConnected) && b.nc.IsConnected() //nolint:errorlint // identity is meant
}

// handle processes one message other than the nil that ends dispatch.
func (b *Bus) handle(m *nats.Msg) {
	switch m.Sub {
	case nil:
		b.barrierReached <- struct{}{} // never blocks: the capacity is one and only one barrier exists at a time
	case b.noResponders.sub:
		b.onNoResponders(m)
	default:
		b.received.Add(1)
		b.deliver(m)
	}
}

// deliver passes a frame to the subscribers of its subject and routing key. Handlers may keep
// m.Data, which nats.go allocates for each message.
//
// Subscribers with an empty routing key receive frames with any key. The routing key is not parsed
// if there are no other subscribers, as on a client's response subjects.
func (b *Bus) deliver(m *nats.Msg) {
	queue := m.Sub.Queue != ""
	subscribers := b.subscribersOf(subKey{subject: m.Sub.Subject, queue: queue})
	unkeyed := subscribers[""]
	if unkeyed != nil && len(subscribers) == 1 {
		deliverTo(unkeyed, m.Data, queue)
		return
	}
	key, err := wire.RoutingKey(m.Data)
	if err != nil {
		b.dropped.Add(1) // malformed: neither psrpc nor dynpsrpc peers send such frames
		return
	}
	delivered := len(key) > 0 && deliverTo(subscribers[string(key)], m.Data, queue)
	if !delivered || !queue {
		delivered = deliverTo(unkeyed, m.Data, queue) || delivered
	}
	if !delivered && queue {
		b.onMisrouted(m, key)
	}
}

// deliverTo passes a frame to one of the subscribers if queue is set, and else to all of them. It
// reports whether there was a subscriber.
func deliverTo(subscribers *fanout.Subscribers, frame []byte, queue bool) bool {
	if queue {
		return subscribers.DeliverQueue(frame)
	}
	return subscribers.DeliverBroadcast(frame) > 0
}
