package natsbus

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
)

// subscription implements bus.Subscription.
type subscription struct {
	subscriptions *subscriptions
	subscriber    subscriber
	once          sync.Once
}

var _ fanout.RenewalNotifier = (*subscription)(nil)

// NotifyRenewed implements fanout.RenewalNotifier.
func (s *subscription) NotifyRenewed(handler func()) {
	s.subscriptions.telemetry.events.NotifyRenewed(s.subscriber.Subscriber, handler)
}

// subscribe implements Bus.Subscribe, which has already checked the arguments.
func (u *subscriptions) subscribe(
	ctx context.Context, channel bus.Channel, mode bus.Mode, handler bus.Handler,
) (bus.Subscription, error) {
	if err := u.conn.check(); err != nil {
		return nil, err
	}
	subject, key := u.subjects.of(channel)
	if err := u.subjects.checkSize(subject); err != nil {
		return nil, err
	}
	queue := mode == bus.Queue
	result := &subscription{subscriptions: u, subscriber: subscriber{
		Subscriber: fanout.NewSubscriber(queue, handler),
		channel:    channel, key: subKey{subject: subject, queue: queue}, routingKey: key,
	}}
	s := &result.subscriber
	unconfirmed, err := u.acquire(s)
	if err != nil {
		return nil, err
	}
	if len(unconfirmed) == 0 {
		return result, nil
	}
	if err = u.conn.waitFlushed(ctx); err == nil {
		err = u.confirm(ctx, s, unconfirmed)
	}
	if err != nil {
		u.remove(s)
		s.Close()
		for _, sub := range s.subs.all() {
			u.abandon(sub)
		}
		return nil, err
	}
	return result, nil
}

// abandon releases a reference to s after subscribe has failed. It then calls checkStale, which
// unsubscribes at once, because there are no frames to wait for.
func (u *subscriptions) abandon(s *serverSub) {
	u.release(s)
	u.checkStale(s)
}

// Close ends the subscription. Frames that the NATS server has already sent are delivered first, so
// an RPC server can shut down without losing requests. Close takes one round trip, which concurrent
// calls share.
func (s *subscription) Close() {
	s.once.Do(func() { s.subscriptions.unsubscribe(&s.subscriber) })
}

// unsubscribe releases the NATS subscriptions and waits for a flush before it removes the
// subscriber, so that frames in transit are still delivered. Another goroutine may release the last
// reference during the flush. The UNSUB may then follow the PING, so another flush is necessary.
func (u *subscriptions) unsubscribe(s *subscriber) {
	u.telemetry.events.IgnoreRenewed(s.Subscriber)
	subs := s.subs.all()
	for _, sub := range subs {
		u.release(sub)
	}
	for u.conn.state.err() == nil {
		draining := u.countDraining(subs)
		if u.conn.waitFlushed(u.conn.ctx) != nil || draining == u.countDraining(subs) {
			break
		}
	}
	u.remove(s)
	s.Close()
	for _, sub := range subs {
		u.checkStale(sub)
	}
}
