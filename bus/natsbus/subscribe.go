package natsbus

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
)

// subscription implements bus.Subscription.
type subscription struct {
	bus     *Bus
	channel bus.Channel
	// shared belongs to the subject of the channel.
	shared *entry
	// private belongs to the private subject of a queue. It is nil if there is none.
	private *entry
	once    sync.Once
}

// entry is a subscriber's place in one NATS subscription.
type entry struct {
	subKey     subKey
	routingKey string
	subscriber *fanout.Subscriber
	// serverSub is shared by all entries with the same subKey.
	serverSub *serverSub
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
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := b.checkConnected(); err != nil {
		return nil, err
	}
	subject, key := b.subjectOf(channel)
	if len(subject) > b.maxSubject {
		return nil, b.subjectTooLongError(subject)
	}
	queue := mode == bus.Queue
	subscriber := fanout.NewSubscriber(queue, handler)
	s := &subscription{bus: b, channel: channel, shared: &entry{
		subKey: subKey{subject: subject, queue: queue}, routingKey: key, subscriber: subscriber,
	}}
	if private, ok := b.privateSubject(subject, key); ok && queue && !b.privateDenied.Load() {
		s.private = &entry{subKey: subKey{subject: private, queue: true}, routingKey: key, subscriber: subscriber}
	}
	if err := b.subscribe(ctx, s); err != nil {
		return nil, err
	}
	return s, nil
}

// entries returns the entries of s. The private one comes first: once the NATS server gives frames to
// this process, other processes can forward theirs, too.
func (s *subscription) entries() []*entry {
	if s.private == nil {
		return []*entry{s.shared}
	}
	return []*entry{s.private, s.shared}
}

// subscribe makes the NATS subscriptions of s and waits until the server has confirmed them. If the
// server denies the private subject, s goes on without it.
func (b *Bus) subscribe(ctx context.Context, s *subscription) error {
	var unconfirmed []*entry
	for i, e := range s.entries() {
		confirmed, err := b.acquireServerSub(e, s.channel)
		if err != nil {
			b.abandon(s.entries()[:i])
			return err
		}
		if !confirmed {
			unconfirmed = append(unconfirmed, e)
		}
	}
	if len(unconfirmed) == 0 {
		return nil
	}
	err := b.waitFlushed(ctx)
	if err == nil && s.private != nil && b.isDenied(s.private) {
		b.abandon([]*entry{s.private})
		s.private = nil
		unconfirmed = []*entry{s.shared}
	}
	if err == nil {
		err = b.confirmServerSubs(ctx, s.channel, unconfirmed)
	}
	if err != nil {
		b.abandon(s.entries())
	}
	return err
}

// abandon removes the entries of a failed subscription.
func (b *Bus) abandon(entries []*entry) {
	for _, e := range entries {
		b.releaseServerSub(e)
		b.removeSubscriber(e)
		// checkStale unsubscribes at once, because a failed subscription has no frames to wait for.
		b.checkStale(e.serverSub)
	}
}

// Close ends the subscription. Frames that the NATS server has already sent are delivered first, so
// an RPC server can shut down without losing requests. Close takes one round trip, which concurrent
// calls share.
func (s *subscription) Close() { s.once.Do(func() { s.bus.unsubscribe(s) }) }

// unsubscribe releases the NATS subscription and waits for a flush before it removes the
// subscriber, so that frames in transit are still delivered. If another goroutine released the last
// reference during the flush, the UNSUB may have been sent after the PING, and another flush is
// necessary.
func (b *Bus) unsubscribe(s *subscription) {
	for _, e := range s.entries() {
		b.releaseServerSub(e)
	}
	for b.state.err() == nil {
		draining := b.countDraining(s)
		if b.waitFlushed(b.ctx) != nil || draining == b.countDraining(s) {
			break
		}
	}
	for _, e := range s.entries() {
		b.removeSubscriber(e)
	}
	s.shared.subscriber.Close()
	for _, e := range s.entries() {
		b.checkStale(e.serverSub)
	}
}
