package natsbus

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// subscription implements bus.Subscription.
type subscription struct {
	bus        *Bus
	channel    bus.Channel
	subKey     subKey
	routingKey string
	subscriber *fanout.Subscriber
	// shared is the NATS subscription to the subject of the channel. All subscriptions with the
	// same subKey share it.
	shared *serverSub
	// private is the NATS subscription to the private subject of a queue. All subscriptions with
	// the same subKey and routing key share it. It is nil if the subscription needs no private
	// subject.
	private *serverSub
	once    sync.Once
}

// Subscribe registers handler to be called for each frame received on channel. It returns when the
// server has confirmed the subscription. Concurrent calls share the round trip for the
// confirmation. No round trip is needed if the bus has already subscribed to the channel's subject.
//
// Subscribe returns one of the following errors:
//
//   - the context's error if ctx ends first
//   - bus.ErrClosed if the bus is closed
//   - an error with code unavailable if the bus is disconnected
//   - an error with code permission_denied if the server denies the subscription
//   - an error with code resource_exhausted if the connection has too many subscriptions
//   - an error with code invalid_argument if the channel's subject is not a valid NATS subject
func (b *Bus) Subscribe(
	ctx context.Context, channel bus.Channel, mode bus.Mode, handler bus.Handler,
) (bus.Subscription, error) {
	if err := nilarg.ContextErr(ctx); err != nil {
		return nil, err
	}
	if handler == nil {
		return nil, nilarg.ErrHandler
	}
	if err := b.checkConnected(); err != nil {
		return nil, err
	}
	subject, key := b.subjectOf(channel)
	if len(subject) > b.maxSubject {
		return nil, b.subjectTooLongError(subject)
	}
	queue := mode == bus.Queue
	s := &subscription{
		bus: b, channel: channel, subKey: subKey{subject: subject, queue: queue}, routingKey: key,
		subscriber: fanout.NewSubscriber(queue, handler),
	}
	unconfirmed, err := b.acquireServerSubs(s)
	if err != nil {
		return nil, err
	}
	if len(unconfirmed) == 0 {
		return s, nil
	}
	if err = b.waitFlushed(ctx); err == nil {
		err = b.confirmServerSubs(ctx, s, unconfirmed)
	}
	if err != nil {
		b.removeSubscriber(s)
		s.subscriber.Close()
		for _, sub := range s.serverSubs() {
			b.abandonServerSub(sub)
		}
		return nil, err
	}
	return s, nil
}

// serverSubs returns the NATS subscriptions of s.
func (s *subscription) serverSubs() []*serverSub {
	if s.private == nil {
		return []*serverSub{s.shared}
	}
	return []*serverSub{s.private, s.shared}
}

// Close ends the subscription. Frames that the NATS server has already sent are delivered first, so
// an RPC server can shut down without losing requests. Close takes one round trip, which concurrent
// calls share.
func (s *subscription) Close() { s.once.Do(func() { s.bus.unsubscribe(s) }) }

// unsubscribe releases the NATS subscriptions and waits for a flush before it removes the
// subscriber, so that frames in transit are still delivered. If another goroutine released the last
// reference during the flush, the UNSUB may have been sent after the PING, and another flush is
// necessary.
func (b *Bus) unsubscribe(s *subscription) {
	subs := s.serverSubs()
	for _, sub := range subs {
		b.releaseServerSub(sub)
	}
	for b.state.err() == nil {
		draining := b.countDraining(subs)
		if b.waitFlushed(b.ctx) != nil || draining == b.countDraining(subs) {
			break
		}
	}
	b.removeSubscriber(s)
	s.subscriber.Close()
	for _, sub := range subs {
		b.checkStale(sub)
	}
}
