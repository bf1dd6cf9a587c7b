package redisbus

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

type subscription struct {
	bus        *Bus
	channel    *channelState
	subscriber *fanout.Subscriber
	once       sync.Once
}

var _ bus.Multiplexed = (*subscription)(nil)

// Subscribe makes deliver a member of channel. It fails with code permission_denied if Redis refuses the channel.
func (b *Bus) Subscribe(
	ctx context.Context, channel bus.Channel, mode bus.Mode, handler bus.Handler,
) (bus.Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name := b.options.prefix + channel.Name
	sup, err := b.supervisorFor(ctx, name)
	if err != nil {
		return nil, err
	}
	s := sup.lastActive.Load()
	if s.ctx.Err() != nil {
		return nil, s.err()
	}
	subscriber := fanout.NewSubscriber(mode == bus.Queue, handler)
	b.mu.Lock()
	if b.ctx.Err() != nil {
		b.mu.Unlock()
		return nil, bus.ErrClosed
	}
	c := b.addSubscriberLocked(sup, name, subscriber)
	c.markDirtyLocked()
	b.mu.Unlock()

	subscription := &subscription{bus: b, channel: c, subscriber: subscriber}
	if err := b.waitForChannel(ctx, s, c, c.subscribedLocked); err != nil {
		subscription.unsubscribe()
		subscriber.Close()
		return nil, err
	}
	return subscription, nil
}

func (b *Bus) addSubscriberLocked(sup *supervisor, name string, subscriber *fanout.Subscriber) *channelState {
	c := b.channels[name]
	if c == nil {
		c = newChannelState(sup, name)
		b.channels[name] = c
	}
	c.addSubscriberLocked(subscriber)
	return c
}

// Sharers returns how many members of the channel are on its connection, which Redis counts once.
func (s *subscription) Subscribers() int { return max(1, s.channel.snapshot.Load().subscribers.Len()) }

// Close ends the subscription. The last one of a channel takes frames until Redis has confirmed that it sends no more:
// a frame that Redis counted as received is delivered. Close also waits for deliveries that are under way.
func (s *subscription) Close() { s.once.Do(s.close) }

func (s *subscription) close() {
	b, c := s.bus, s.channel
	b.mu.Lock()
	last, session := c.isLastSubscriberLocked(s.subscriber), c.supervisor.attached
	if last {
		c.draining = true
		c.markDirtyLocked()
	}
	b.mu.Unlock()
	if last { // without the session nothing comes either
		_ = b.waitForChannel(context.Background(), session, c, c.unsubscribedLocked)
	}
	if pendingLocks := s.unsubscribe(); pendingLocks != nil {
		<-pendingLocks.Close()
	}
	s.subscriber.Close()
}

// unsubscribe ends the membership. It returns the gate of the contests that the member must wait for, if any.
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

// waitForChannel waits until what is so of c, or the session or ctx has ended.
func (b *Bus) waitForChannel(ctx context.Context, s *session, c *channelState, condition func() (bool, error)) error {
	for {
		b.mu.RLock()
		done, err := condition()
		changed := c.changed
		b.mu.RUnlock()
		if done || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ctx.Done():
			return s.err()
		}
	}
}

// subscribedLocked says that Redis has confirmed the channel.
func (c *channelState) subscribedLocked() (bool, error) {
	return c.subscribeSent && c.pendingReplies == 0, c.subscribeErr
}

// reconciledLocked says that nothing is to be awaited from Redis: it has confirmed the channel, or refused it.
func (c *channelState) reconciledLocked() bool {
	return !c.dirty && c.pendingReplies == 0 && (!c.subscribeAlone || c.subscribeSent || c.subscribeErr != nil)
}

// unsubscribedLocked says that Redis sends nothing here, or that somebody has joined anew.
func (c *channelState) unsubscribedLocked() (bool, error) {
	return c.desiredLocked() || !c.dirty && !c.subscribeSent && c.pendingReplies == 0, nil
}
