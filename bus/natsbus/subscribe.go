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
	// releaseOnce is for StartClose, and closeOnce for Close.
	releaseOnce, closeOnce sync.Once
}

var (
	_ fanout.RenewalNotifier = (*subscription)(nil)
	_ fanout.CloseStarter    = (*subscription)(nil)
)

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

// StartClose implements fanout.CloseStarter. The queue methods of a service share one NATS
// subscription. The server ends it after StartClose has been called for all of them.
func (s *subscription) StartClose() {
	s.releaseOnce.Do(func() {
		s.subscriptions.telemetry.events.IgnoreRenewed(s.subscriber.Subscriber)
		for _, sub := range s.subscriber.subs.all() {
			s.subscriptions.release(sub)
		}
	})
}

// Close ends the subscription. Frames that the NATS server has already sent are delivered first, so
// an RPC server can shut down without losing requests. Close takes one round trip, which concurrent
// calls share.
func (s *subscription) Close() {
	s.closeOnce.Do(func() {
		s.StartClose()
		s.subscriptions.unsubscribe(&s.subscriber)
	})
}

// unsubscribe waits for a flush before it removes the subscriber, so that frames in transit are
// still delivered. The NATS subscriptions must have been released. Another goroutine may release
// the last reference during the flush. The UNSUB may then follow the PING, so another flush is
// necessary.
func (u *subscriptions) unsubscribe(s *subscriber) {
	subs := s.subs.all()
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
