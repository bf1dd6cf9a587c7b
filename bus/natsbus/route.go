package natsbus

import (
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// queueGroup is the name that psrpc's queues have, too.
const queueGroup = "bus"

// route is the NATS subscription of an address. The bus's mutex for changes guards it.
type route struct {
	sub         *nats.Subscription
	staying     int           // members that do not want to leave; without any, sub is ending
	live        bool          // the server has confirmed it
	denied      error         // why the server does not permit it,
	deniedEpoch uint64        // as long as the link has this age
	dropped     int           // how many frames nats.go had dropped when last asked
	endingAt    uint64        // how often the connection had reconnected when sub was told to end,
	endedAt     atomic.Uint64 // and when nats.go forgot it
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
		b.watchEnd(r)
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
	if err := s.route.denied; err != nil && s.route.deniedEpoch == b.conn.epoch() {
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
	r.endingAt = b.nc.Stats().Reconnects
	if b.conn.err() != nil || r.sub.Drain() != nil {
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
