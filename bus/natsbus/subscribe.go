package natsbus

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
)

// subscription is one member of an address.
type subscription struct {
	bus     *Bus
	channel bus.Channel
	at      address
	key     string
	member  *fanout.Member
	route   *route // shared with the address's other members
	once    sync.Once
}

// Subscribe makes deliver a member of channel. Members of one subject share one NATS subscription, and those who
// subscribe at the same time share the wait for the server's confirmation.
func (b *Bus) Subscribe(
	ctx context.Context, channel bus.Channel, join bus.Join, deliver bus.Deliver,
) (bus.Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := b.usable(); err != nil {
		return nil, err
	}
	queue := join == bus.Queue
	subject, key := b.locate(channel)
	s := &subscription{
		bus: b, channel: channel, at: address{subject: subject, queue: queue}, key: key,
		member: fanout.NewMember(queue, deliver),
	}
	live, err := b.join(s)
	if err != nil {
		return nil, err
	}
	if live {
		return s, nil
	}
	err = b.await(ctx)
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

// Close ends the membership. What the server has sent by then is delivered before, for which Close makes a round trip.
// Those who close at the same time share it.
func (s *subscription) Close() { s.once.Do(func() { s.bus.leave(s) }) }

func (b *Bus) leave(s *subscription) {
	b.release(s)
	for b.link.err() == nil {
		ending := b.ending(s.route)
		if b.await(b.ctx) != nil || ending == b.ending(s.route) {
			break
		}
	}
	b.removeMember(s)
	b.checkOrphaned(s.route)
}

// queueGroup is the name that psrpc's queues have, too.
const queueGroup = "bus"

// route is the NATS subscription of an address, and guarded by the bus's mutex for changes.
type route struct {
	sub        *nats.Subscription
	staying    int    // members that do not want to leave; without any, sub is ending
	live       bool   // the server has confirmed it
	refused    error  // why the server does not permit it
	dropped    int    // how many frames nats.go had dropped when last asked
	reconnects uint64 // of the connection, when sub was told to end
}

// join adds a member, and reports whether its route is live already.
func (b *Bus) join(s *subscription) (live bool, err error) {
	b.changing.Lock()
	defer b.changing.Unlock()
	if b.closed {
		return false, bus.ErrClosed
	}
	b.addMember(s)
	r := b.routes[s.at]
	if r == nil {
		r = &route{}
		if r.sub, err = b.listen(s.at); err != nil {
			b.removeMember(s)
			return false, b.listenError(err, s.channel)
		}
		b.routes[s.at] = r
	}
	r.staying++
	s.route = r
	return r.live, nil
}

func (b *Bus) listen(at address) (*nats.Subscription, error) {
	if at.queue {
		return b.nc.ChanQueueSubscribe(at.subject, queueGroup, b.inbound)
	}
	return b.nc.ChanSubscribe(at.subject, b.inbound)
}

func (b *Bus) listenError(err error, channel bus.Channel) error {
	if errors.Is(err, nats.ErrBadSubject) {
		return b.subjectError(err, channel)
	}
	return errors.NewErrorf(errors.Unavailable, "nats bus cannot subscribe to channel %s: %w", channel, err)
}

// confirm makes a route live that the server has heard of, unless it was refused.
func (b *Bus) confirm(s *subscription) error {
	b.changing.Lock()
	defer b.changing.Unlock()
	if err := s.route.refused; err != nil {
		return errors.NewErrorf(errors.PermissionDenied, "nats bus cannot subscribe to channel %s: %w", s.channel, err)
	}
	s.route.live = true
	return nil
}

// release ends a route if its last member wants to leave: nats.go tells the server, delivers what comes until that is
// known there, and then forgets the NATS subscription. Who joins meanwhile gets another route.
func (b *Bus) release(s *subscription) {
	b.changing.Lock()
	defer b.changing.Unlock()
	r := s.route
	r.staying--
	if r.staying > 0 || b.closed {
		return
	}
	b.countDroppedLocked(s.at, r)
	delete(b.routes, s.at)
	r.reconnects = b.nc.Stats().Reconnects
	if b.link.err() != nil || r.sub.Drain() != nil {
		_ = r.sub.Unsubscribe() // fails if the connection was closed
	}
}

// ending reports whether all members of r want to leave.
func (b *Bus) ending(r *route) bool {
	b.changing.Lock()
	defer b.changing.Unlock()
	return r.staying == 0
}

// closeRoutes returns the routes that were open, and reports false if it was called before.
func (b *Bus) closeRoutes() (open map[address]*route, first bool) {
	b.changing.Lock()
	defer b.changing.Unlock()
	open, first = b.routes, !b.closed
	b.routes, b.closed = nil, true
	return open, first
}
