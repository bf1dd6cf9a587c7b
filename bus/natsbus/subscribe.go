package natsbus

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
)

// subscription is one member of an address.
type subscription struct {
	bus     *Bus
	channel bus.Channel
	at      address
	key     string
	member  *fanout.Subscriber
	route   *route // shared with the address's other members
	once    sync.Once
}

// Subscribe makes deliver a member of channel. Members of one subject share one NATS subscription, and those who
// subscribe at the same time share the wait for the server's confirmation.
func (b *Bus) Subscribe(
	ctx context.Context, channel bus.Channel, join bus.Mode, deliver bus.Handler,
) (bus.Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := b.checkConnected(); err != nil {
		return nil, err
	}
	queue := join == bus.Queue
	subject, key := b.subjectOf(channel)
	s := &subscription{
		bus: b, channel: channel, at: address{subject: subject, queue: queue}, key: key,
		member: fanout.NewSubscriber(queue, deliver),
	}
	live, err := b.join(s)
	if err != nil {
		return nil, err
	}
	if live {
		return s, nil
	}
	err = b.waitFlushed(ctx)
	if err == nil {
		err = b.confirm(s)
	}
	if err != nil {
		b.release(s)
		b.removeMember(s)
		return nil, err
	}
	return s, nil
}

// Close ends the membership. What the server has sent by then is delivered before, so that a process that stops to serve
// leaves no request behind: Close takes a round trip, which those who close at the same time share.
func (s *subscription) Close() { s.once.Do(func() { s.bus.leave(s) }) }

// leave makes one more round trip if the route begins to end during the first one.
func (b *Bus) leave(s *subscription) {
	b.release(s)
	for b.conn.err() == nil {
		ending := b.ending(s.route)
		if b.waitFlushed(b.ctx) != nil || ending == b.ending(s.route) {
			break
		}
	}
	b.removeMember(s)
	b.checkOrphaned(s.route)
}
