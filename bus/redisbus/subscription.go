package redisbus

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

type subscription struct {
	bus     *Bus
	channel *channel
	member  *fanout.Subscriber
	once    sync.Once
}

var _ bus.Multiplexed = (*subscription)(nil)

// Subscribe makes deliver a member of channel. It fails with code permission_denied if Redis refuses the channel.
func (b *Bus) Subscribe(
	ctx context.Context, channel bus.Channel, join bus.Mode, deliver bus.Handler,
) (bus.Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name := b.options.prefix + channel.Name
	l, err := b.linkFor(ctx, name)
	if err != nil {
		return nil, err
	}
	s := l.up.Load()
	if s.ctx.Err() != nil {
		return nil, s.err()
	}
	member := fanout.NewSubscriber(join == bus.Queue, deliver)
	b.mu.Lock()
	if b.ctx.Err() != nil {
		b.mu.Unlock()
		return nil, bus.ErrClosed
	}
	c := b.joinLocked(l, name, member)
	c.touchLocked()
	b.mu.Unlock()

	subscription := &subscription{bus: b, channel: c, member: member}
	if err := b.await(ctx, s, c, c.liveLocked); err != nil {
		subscription.leave()
		member.Close()
		return nil, err
	}
	return subscription, nil
}

func (b *Bus) joinLocked(l *link, name string, member *fanout.Subscriber) *channel {
	c := b.channels[name]
	if c == nil {
		c = newChannel(l, name)
		b.channels[name] = c
	}
	c.joinLocked(member)
	return c
}

// Sharers returns how many members of the channel are on its connection, which Redis counts once.
func (s *subscription) Subscribers() int { return max(1, s.channel.audience.Load().members.Len()) }

// Close ends the subscription. The last one of a channel takes frames until Redis has confirmed that it sends no more:
// a frame that Redis counted as received is delivered. Close also waits for deliveries that are under way.
func (s *subscription) Close() { s.once.Do(s.close) }

func (s *subscription) close() {
	b, c := s.bus, s.channel
	b.mu.Lock()
	last, session := c.isLastLocked(s.member), c.link.session
	if last {
		c.leaving = true
		c.touchLocked()
	}
	b.mu.Unlock()
	if last { // without the session nothing comes either
		_ = b.await(context.Background(), session, c, c.unlistenedLocked)
	}
	if contests := s.leave(); contests != nil {
		<-contests.Close()
	}
	s.member.Close()
}

// leave ends the membership. It returns the gate of the contests that the member must wait for, if any.
func (s *subscription) leave() *lifecycle.Gate {
	b, c := s.bus, s.channel
	b.mu.Lock()
	defer b.mu.Unlock()
	contests := c.leaveLocked(s.member)
	if !c.wantedLocked() {
		c.touchLocked()
	}
	return contests
}

// await waits until what is so of c, or the session or ctx has ended.
func (b *Bus) await(ctx context.Context, s *session, c *channel, what func() (bool, error)) error {
	for {
		b.mu.RLock()
		so, err := what()
		changed := c.changed
		b.mu.RUnlock()
		if so || err != nil {
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

// liveLocked says that Redis has confirmed the channel.
func (c *channel) liveLocked() (bool, error) {
	return c.asked && c.unconfirmed == 0, c.refused
}

// decidedLocked says that nothing is to be awaited from Redis: it has confirmed the channel, or refused it.
func (c *channel) decidedLocked() bool {
	return !c.dirty && c.unconfirmed == 0 && (!c.alone || c.asked || c.refused != nil)
}

// unlistenedLocked says that Redis sends nothing here, or that somebody has joined anew.
func (c *channel) unlistenedLocked() (bool, error) {
	return c.wantedLocked() || !c.dirty && !c.asked && c.unconfirmed == 0, nil
}
