package natsbus

import (
	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// barrier goes through the queue of what comes in, and says that all before it has been delivered.
var barrier = new(nats.Msg)

// dispatch delivers what comes in, in the order in which the server sent it, until the bus is closed. One goroutine
// does it for all subscriptions: that keeps the order between them, and no Deliver function blocks.
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

// reconnecting reports whether the server is back and the bus does not publish yet. A message that came now could not be
// answered. The marker comes soon.
func (b *Bus) reconnecting() bool {
	err := b.conn.err()
	return (err == errConnLost || err == errNotConnected) && b.nc.IsConnected() //nolint:errorlint // is it these very ones
}

func (b *Bus) handle(m *nats.Msg) {
	switch m.Sub {
	case nil:
		b.barrierReached <- struct{}{} // has room for one, and there is one marker at a time
	case b.noResponders.sub:
		b.onNoResponders(m)
	default:
		b.received.Add(1)
		b.deliver(m)
	}
}

// deliver gives a frame to those it is for. nats.go has made m.Data for this message alone.
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
		b.dropped.Add(1) // no peer sends such frames
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

// deliverTo reports whether a member took the frame.
func deliverTo(subscribers *fanout.Subscribers, frame []byte, queue bool) bool {
	if queue {
		return subscribers.DeliverQueue(frame)
	}
	return subscribers.DeliverBroadcast(frame) > 0
}
