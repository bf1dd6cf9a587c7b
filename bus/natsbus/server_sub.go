package natsbus

import (
	"context"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// queueGroup is the NATS queue group used for all queued methods. psrpc uses the same name, so
// requests are distributed among psrpc and dynpsrpc servers.
const queueGroup = "bus"

// serverSub is the state of one NATS subscription. It is shared by all subscriptions of the bus
// that need it. Bus.changeMu guards all fields except key, which does not change, and
// closeReconnects, which is atomic.
type serverSub struct {
	key subKey
	// sub is a subscription of nc.
	sub *nats.Subscription
	nc  *nats.Conn
	// refs counts the subscriptions of the bus that share sub and are not closing. When it reaches
	// zero, sub is drained.
	refs int
	// confirmed reports whether a flush has proved that the server has the subscription.
	confirmed bool
	// refusals is the number of subscriptions that the server had refused before the bus created
	// sub.
	refusals uint64
	// denied is the server's permission error. It is valid only while deniedEpoch is the current
	// epoch of the connection.
	denied      error
	deniedEpoch uint64
	// dropped is the last value read from nats.go's counter of dropped messages.
	dropped int
	// drainReconnects and closeReconnects are the connection's number of reconnects at two moments:
	// when the drain of sub started, and when nats.go forgot sub. If closeReconnects is higher,
	// nats.go reconnected in between. It may then have sent the SUB again, so the server may still
	// have the subscription. See resync.go.
	drainReconnects uint64
	closeReconnects atomic.Uint64
}

// acquireServerSubs adds the subscriber of s and acquires the NATS subscriptions that s needs. It
// returns those that the server has not confirmed yet. It subscribes to the private subject first.
// As soon as this process is a member of the queue group, other processes can therefore forward
// misrouted frames to it.
func (b *Bus) acquireServerSubs(s *subscription) (unconfirmed []*serverSub, err error) {
	private, hasPrivate := b.privateSubject(s.subKey.subject, s.routingKey)
	hasPrivate = hasPrivate && s.subKey.queue && !b.privateDenied.Load()
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	if b.closed {
		return nil, bus.ErrClosed
	}
	b.addSubscriber(s)
	if hasPrivate {
		s.private, err = b.acquireServerSubLocked(subKey{subject: private, queue: true})
	}
	if err == nil {
		s.shared, err = b.acquireServerSubLocked(s.subKey)
	}
	if err != nil {
		if s.private != nil {
			b.releaseServerSubLocked(s.private)
		}
		b.removeSubscriber(s)
		return nil, b.subscribeError(err, s.channel)
	}
	for _, sub := range s.serverSubs() {
		if !sub.confirmed {
			unconfirmed = append(unconfirmed, sub)
		}
	}
	return unconfirmed, nil
}

// acquireServerSubLocked returns the serverSub for key, with one more reference. It creates the
// serverSub if necessary.
func (b *Bus) acquireServerSubLocked(key subKey) (*serverSub, error) {
	s := b.serverSubs[key]
	if s == nil {
		s = &serverSub{key: key}
		s.refusals, _ = b.asyncErrors.refused()
		if err := b.subscribeNATS(s); err != nil {
			return nil, err
		}
		b.serverSubs[key] = s
	}
	s.refs++
	return s, nil
}

// subscribeNATS sets s.sub to a new subscription of the current connection.
func (b *Bus) subscribeNATS(s *serverSub) error {
	nc, queue := b.conn(), ""
	if s.key.queue {
		queue = queueGroup
	}
	sub, err := nc.ChanQueueSubscribe(s.key.subject, queue, b.inbound)
	if err != nil {
		return err
	}
	s.sub, s.nc, s.dropped = sub, nc, 0
	watchClosed(s)
	return nil
}

func (b *Bus) subscribeError(err error, channel bus.Channel) error {
	if errors.Is(err, nats.ErrBadSubject) {
		return b.subjectError(err, channel)
	}
	return errors.NewErrorf(errors.Unavailable, "nats bus cannot subscribe to channel %.200s: %w", channel, err)
}

// confirmServerSubs marks the unconfirmed NATS subscriptions of s as confirmed, after a successful
// flush. It returns an error if the server has denied one of them, or has refused one because the
// connection has too many. A refusal does not name the subscription, so all that are unconfirmed
// fail. If the server has denied only the private subject, s works without it.
func (b *Bus) confirmServerSubs(ctx context.Context, s *subscription, unconfirmed []*serverSub) error {
	b.waitRefusal(ctx, unconfirmed[0].refusals)
	refusals, _ := b.asyncErrors.refused()
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	for _, sub := range unconfirmed {
		denied := sub.denied != nil && sub.deniedEpoch == b.state.epoch()
		switch {
		case denied && sub == s.private:
			s.private = nil
			b.releaseServerSubLocked(sub)
		case denied:
			return errors.NewErrorf(errors.PermissionDenied, "nats bus cannot subscribe to channel %.200s: %w", s.channel, sub.denied)
		case refusals != sub.refusals && !sub.confirmed:
			return errors.NewErrorf(errors.ResourceExhausted, "nats bus cannot subscribe to channel %.200s: %w",
				s.channel, nats.ErrMaxSubscriptionsExceeded)
		default:
			sub.confirmed = true
		}
	}
	return nil
}

// abandonServerSub releases a reference to s after Subscribe has failed. It then calls checkStale,
// which unsubscribes at once, because there are no frames to wait for.
func (b *Bus) abandonServerSub(s *serverSub) {
	b.releaseServerSub(s)
	b.checkStale(s)
}

// releaseServerSub releases a reference to s. After the last one, it drains the NATS subscription:
// nats.go sends UNSUB and still delivers the messages that arrive before the server has processed
// it. If the bus is disconnected, it removes the NATS subscription at once.
func (b *Bus) releaseServerSub(s *serverSub) {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	b.releaseServerSubLocked(s)
}

func (b *Bus) releaseServerSubLocked(s *serverSub) {
	s.refs--
	if s.refs > 0 || b.closed {
		return
	}
	b.countDroppedLocked(s)
	delete(b.serverSubs, s.key)
	s.drainReconnects = s.nc.Stats().Reconnects
	if b.state.err() != nil || s.sub.Drain() != nil {
		// If this fails, the connection has already been closed.
		_ = s.sub.Unsubscribe()
	}
}

// countDraining returns how many of the NATS subscriptions have no reference left.
func (b *Bus) countDraining(subs []*serverSub) (draining int) {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	for _, s := range subs {
		if s.refs == 0 {
			draining++
		}
	}
	return draining
}

// closeServerSubs prevents new subscriptions and returns the open ones. first reports whether this
// is the first call.
func (b *Bus) closeServerSubs() (open map[subKey]*serverSub, first bool) {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	open, first = b.serverSubs, !b.closed
	b.serverSubs, b.closed = nil, true
	return open, first
}
