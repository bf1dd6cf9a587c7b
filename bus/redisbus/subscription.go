package redisbus

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

type subscription struct {
	bus        *core
	channel    *channelState
	subscriber *fanout.Subscriber
	once       sync.Once
}

var (
	_ bus.Multiplexed     = (*subscription)(nil)
	_ bus.RefusalNotifier = (*subscription)(nil)

	_ fanout.RenewalNotifier = (*subscription)(nil)
)

// NotifyRefused implements bus.RefusalNotifier. Redis refuses a frame by refusing its lock.
func (s *subscription) NotifyRefused(handler bus.Handler) { s.subscriber.NotifyRefused(handler) }

// NotifyRenewed implements fanout.RenewalNotifier.
func (s *subscription) NotifyRenewed(handler func()) {
	s.bus.events.NotifyRenewed(s.subscriber, handler)
}

// Subscribers implements bus.Multiplexed. All subscriptions of this bus to the channel share one
// pub/sub connection, which Redis counts as one receiver.
func (s *subscription) Subscribers() int { return max(1, s.channel.snapshot.Load().subscribers.Len()) }

// Close ends the subscription and waits for running calls to its handler to return. The last
// subscription to a channel receives frames until Redis has confirmed the UNSUBSCRIBE, so every
// frame that Redis has counted as received is delivered.
func (s *subscription) Close() { s.once.Do(s.close) }

func (s *subscription) close() {
	b, c := s.bus, s.channel
	b.events.IgnoreRenewed(s.subscriber)
	b.mu.Lock()
	last, session := c.hasOneSubscriberLocked(), c.group.attached
	if last {
		c.draining = true
		c.markDirtyLocked()
	}
	b.mu.Unlock()
	if last {
		// The error can be ignored. It means that the session has ended, in which case no more
		// frames arrive.
		_ = b.waitForChannel(context.Background(), session, c, c.unsubscribedLocked)
	}
	if pendingLocks := s.unsubscribe(); pendingLocks != nil {
		<-pendingLocks.Close()
	}
	s.subscriber.Close()
}

// unsubscribe removes the subscriber from the channel. If the caller must wait for lock attempts
// before closing the subscriber, unsubscribe returns the gate that tracks these attempts. Otherwise
// it returns nil.
func (s *subscription) unsubscribe() *lifecycle.Gate {
	b, c := s.bus, s.channel
	b.mu.Lock()
	defer b.mu.Unlock()
	pendingLocks := c.removeSubscriberLocked(s.subscriber)
	if !c.desiredLocked() {
		c.markDirtyLocked()
	}
	return pendingLocks
}
