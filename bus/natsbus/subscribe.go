package natsbus

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
)

// subscription is one member of an address.
type subscription struct {
	bus        *Bus
	channel    bus.Channel
	subKey     subKey
	routingKey string
	subscriber *fanout.Subscriber
	serverSub  *serverSub // shared with the address's other members
	once       sync.Once
}

// Subscribe makes deliver a member of channel. Members of one subject share one NATS subscription, and those who
// subscribe at the same time share the wait for the server's confirmation.
func (b *Bus) Subscribe(
	ctx context.Context, channel bus.Channel, mode bus.Mode, deliver bus.Handler,
) (bus.Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := b.checkConnected(); err != nil {
		return nil, err
	}
	queue := mode == bus.Queue
	subject, key := b.subjectOf(channel)
	s := &subscription{
		bus: b, channel: channel, subKey: subKey{subject: subject, queue: queue}, routingKey: key,
		subscriber: fanout.NewSubscriber(queue, deliver),
	}
	confirmed, err := b.acquireServerSub(s)
	if err != nil {
		return nil, err
	}
	if confirmed {
		return s, nil
	}
	err = b.waitFlushed(ctx)
	if err == nil {
		err = b.confirmServerSub(s)
	}
	if err != nil {
		b.releaseServerSub(s)
		b.removeSubscriber(s)
		return nil, err
	}
	return s, nil
}

// Close ends the membership. What the server has sent by then is delivered before, so that a process that stops to serve
// leaves no request behind: Close takes a round trip, which those who close at the same time share.
func (s *subscription) Close() { s.once.Do(func() { s.bus.unsubscribe(s) }) }

// unsubscribe makes one more round trip if the route begins to end during the first one.
func (b *Bus) unsubscribe(s *subscription) {
	b.releaseServerSub(s)
	for b.conn.err() == nil {
		wasDraining := b.isDraining(s.serverSub)
		if b.waitFlushed(b.ctx) != nil || wasDraining == b.isDraining(s.serverSub) {
			break
		}
	}
	b.removeSubscriber(s)
	b.checkStale(s.serverSub)
}
