package natsbus

import (
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// queueGroup is the NATS queue group of all queued methods. psrpc uses the same name, so psrpc and
// dynpsrpc servers share requests.
const queueGroup = "bus"

// serverSub is the state of one NATS subscription, shared by all subscriptions of the bus with the
// same subKey. Bus.changeMu guards its fields, except for the atomic one.
type serverSub struct {
	sub *nats.Subscription
	// refs counts the subscriptions that are not closing. At zero, sub is being drained.
	refs int
	// confirmed says that a flush has shown the server to have the subscription.
	confirmed bool
	// denied is the server's permission error. It is valid while the connection is in deniedEpoch.
	denied      error
	deniedEpoch uint64
	// dropped is the last value of nats.go's counter of dropped messages.
	dropped int
	// drainReconnects and closeReconnects are the connection's number of reconnects when the drain
	// of sub began and when nats.go forgot sub. See resync.go.
	drainReconnects uint64
	closeReconnects atomic.Uint64
}

// acquireServerSub adds a subscription to the serverSub of its subKey, which it creates if
// necessary, and reports whether the server has confirmed that already.
func (b *Bus) acquireServerSub(s *subscription) (confirmed bool, err error) {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	if b.closed {
		return false, bus.ErrClosed
	}
	b.addSubscriber(s)
	shared := b.serverSubs[s.subKey]
	if shared == nil {
		shared = &serverSub{}
		if shared.sub, err = b.subscribeNATS(s.subKey); err != nil {
			b.removeSubscriber(s)
			return false, b.subscribeError(err, s.channel)
		}
		b.watchClosed(shared)
		b.serverSubs[s.subKey] = shared
	}
	shared.refs++
	s.serverSub = shared
	return shared.confirmed, nil
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

// confirmServerSub is called after a successful flush. It marks the NATS subscription as confirmed,
// or returns the permission error that arrived before the flush ended.
func (b *Bus) confirmServerSub(s *subscription) error {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	if err := s.serverSub.denied; err != nil && s.serverSub.deniedEpoch == b.conn.epoch() {
		return errors.NewErrorf(errors.PermissionDenied, "nats bus cannot subscribe to channel %s: %w", s.channel, err)
	}
	s.serverSub.confirmed = true
	return nil
}

// releaseServerSub gives up the reference of a subscription. With the last reference it drains the
// NATS subscription: nats.go sends UNSUB, delivers what arrives until the server has processed it,
// and then forgets the subscription. A Subscribe in the meantime creates a new serverSub.
func (b *Bus) releaseServerSub(s *subscription) {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	shared := s.serverSub
	shared.refs--
	if shared.refs > 0 || b.closed {
		return
	}
	b.countDroppedLocked(s.subKey, shared)
	delete(b.serverSubs, s.subKey)
	shared.drainReconnects = b.nc.Stats().Reconnects
	if b.conn.err() != nil || shared.sub.Drain() != nil {
		_ = shared.sub.Unsubscribe() // fails if the connection was closed
	}
}

// isDraining reports whether all references to s have been released.
func (b *Bus) isDraining(s *serverSub) bool {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	return s.refs == 0
}

// closeServerSubs prevents further subscriptions and returns the open ones. first is false if it
// was called before.
func (b *Bus) closeServerSubs() (open map[subKey]*serverSub, first bool) {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	open, first = b.serverSubs, !b.closed
	b.serverSubs, b.closed = nil, true
	return open, first
}
