package natsbus

import (
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// queueGroup is the name that psrpc's queues have, too.
const queueGroup = "bus"

// serverSub is the NATS subscription of an address. The bus's mutex for changes guards it.
type serverSub struct {
	sub             *nats.Subscription
	refs            int           // members that do not want to leave; without any, sub is ending
	confirmed       bool          // the server has confirmed it
	denied          error         // why the server does not permit it,
	deniedEpoch     uint64        // as long as the link has this age
	dropped         int           // how many frames nats.go had dropped when last asked
	drainReconnects uint64        // how often the connection had reconnected when sub was told to end,
	closeReconnects atomic.Uint64 // and when nats.go forgot it
}

// acquireServerSub adds a member, and reports whether its route is live already.
func (b *Bus) acquireServerSub(s *subscription) (confirmed bool, err error) {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	if b.closed {
		return false, bus.ErrClosed
	}
	b.addSubscriber(s)
	r := b.serverSubs[s.subKey]
	if r == nil {
		r = &serverSub{}
		if r.sub, err = b.subscribeNATS(s.subKey); err != nil {
			b.removeSubscriber(s)
			return false, b.subscribeError(err, s.channel)
		}
		b.watchClosed(r)
		b.serverSubs[s.subKey] = r
	}
	r.refs++
	s.serverSub = r
	return r.confirmed, nil
}

func (b *Bus) subscribeNATS(key subKey) (*nats.Subscription, error) {
	if key.queue {
		return b.nc.ChanQueueSubscribe(key.subject, queueGroup, b.inbound)
	}
	return b.nc.ChanSubscribe(key.subject, b.inbound)
}

func (b *Bus) subscribeError(err error, channel bus.Channel) error {
	if errors.Is(err, nats.ErrBadSubject) {
		return b.subjectError(err, channel)
	}
	return errors.NewErrorf(errors.Unavailable, "nats bus cannot subscribe to channel %s: %w", channel, err)
}

// confirmServerSub makes a route live that the server has heard of, unless it was refused.
func (b *Bus) confirmServerSub(s *subscription) error {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	if err := s.serverSub.denied; err != nil && s.serverSub.deniedEpoch == b.conn.epoch() {
		return errors.NewErrorf(errors.PermissionDenied, "nats bus cannot subscribe to channel %s: %w", s.channel, err)
	}
	s.serverSub.confirmed = true
	return nil
}

// releaseServerSub ends a route if its last member wants to leave: nats.go tells the server, delivers what comes until that is
// known there, and then forgets the NATS subscription. Who joins meanwhile gets another route.
func (b *Bus) releaseServerSub(s *subscription) {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	r := s.serverSub
	r.refs--
	if r.refs > 0 || b.closed {
		return
	}
	b.countDroppedLocked(s.subKey, r)
	delete(b.serverSubs, s.subKey)
	r.drainReconnects = b.nc.Stats().Reconnects
	if b.conn.err() != nil || r.sub.Drain() != nil {
		_ = r.sub.Unsubscribe() // fails if the connection was closed
	}
}

// isDraining reports whether all members of r want to leave.
func (b *Bus) isDraining(r *serverSub) bool {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	return r.refs == 0
}

// closeServerSubs returns the routes that were open, and reports false if it was called before.
func (b *Bus) closeServerSubs() (open map[subKey]*serverSub, first bool) {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	open, first = b.serverSubs, !b.closed
	b.serverSubs, b.closed = nil, true
	return open, first
}
