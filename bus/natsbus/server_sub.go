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
// with the same subKey. Bus.changeMu guards all fields except closeReconnects, which is atomic.
type serverSub struct {
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
	// when the drain of sub started, and when nats.go forgot sub. If closeReconnects is higher, the
	// server may still have the subscription. See resync.go.
	drainReconnects uint64
	closeReconnects atomic.Uint64
}

// acquireServerSub adds e to the serverSub for its subKey, creating the serverSub if necessary. It
// reports whether the server has already confirmed the NATS subscription.
func (b *Bus) acquireServerSub(e *entry, channel bus.Channel) (confirmed bool, err error) {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	if b.closed {
		return false, bus.ErrClosed
	}
	b.addSubscriber(e)
	shared := b.serverSubs[e.subKey]
	if shared == nil {
		shared = &serverSub{}
		shared.refusals, _ = b.asyncErrors.refused()
		if err = b.subscribeNATS(e.subKey, shared); err != nil {
			b.removeSubscriber(e)
			return false, b.subscribeError(err, channel)
		}
		b.serverSubs[e.subKey] = shared
	}
	shared.refs++
	e.serverSub = shared
	return shared.confirmed, nil
}

// subscribeNATS sets s.sub to a new subscription of the current connection.
func (b *Bus) subscribeNATS(key subKey, s *serverSub) error {
	nc, queue := b.conn(), ""
	if key.queue {
		queue = queueGroup
	}
	sub, err := nc.ChanQueueSubscribe(key.subject, queue, b.inbound)
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

// confirmServerSubs is called after a successful flush. It marks the NATS subscriptions of entries as
// confirmed, or returns the error if the server has denied or refused one of them before the flush
// ended. The server's refusal does not say which subscription it concerns, so all subscriptions that
// were not confirmed at that time fail.
func (b *Bus) confirmServerSubs(ctx context.Context, channel bus.Channel, entries []*entry) error {
	b.waitRefusal(ctx, entries[0].serverSub.refusals)
	refusals, _ := b.asyncErrors.refused()
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	for _, e := range entries {
		s := e.serverSub
		switch {
		case b.isDeniedLocked(s):
			return errors.NewErrorf(errors.PermissionDenied, "nats bus cannot subscribe to channel %.200s: %w", channel, s.denied)
		case refusals != s.refusals && !s.confirmed:
			return errors.NewErrorf(errors.ResourceExhausted, "nats bus cannot subscribe to channel %.200s: %w",
				channel, nats.ErrMaxSubscriptionsExceeded)
		}
		s.confirmed = true
	}
	return nil
}

// isDenied reports whether the server has denied the NATS subscription of e.
func (b *Bus) isDenied(e *entry) bool {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	return b.isDeniedLocked(e.serverSub)
}

func (b *Bus) isDeniedLocked(s *serverSub) bool {
	return s.denied != nil && s.deniedEpoch == b.state.epoch()
}

// releaseServerSub releases the reference held by e. When the last reference is released, the NATS
// subscription is drained. nats.go then sends UNSUB, delivers the messages that arrive before the
// server has processed the UNSUB, and then forgets the subscription. A call to Subscribe in the
// meantime creates a new serverSub. If the bus is disconnected, the NATS subscription is removed
// without a drain.
func (b *Bus) releaseServerSub(e *entry) {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	shared := e.serverSub
	shared.refs--
	if shared.refs > 0 || b.closed {
		return
	}
	b.countDroppedLocked(e.subKey, shared)
	delete(b.serverSubs, e.subKey)
	shared.drainReconnects = shared.nc.Stats().Reconnects
	if b.state.err() != nil || shared.sub.Drain() != nil {
		_ = shared.sub.Unsubscribe() // if this fails, the connection has already been closed
	}
}

// countDraining returns how many of the NATS subscriptions of s have no reference left.
func (b *Bus) countDraining(s *subscription) (draining int) {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	for _, e := range s.entries() {
		if e.serverSub.refs == 0 {
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
