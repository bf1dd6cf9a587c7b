package redisbus

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
)

// link is the way to one server, or to one shard whichever server it is on: one session after another.
type link struct {
	bus   *Bus
	probe *channelState           // the bus's own: what it publishes there must come back
	up    atomic.Pointer[session] // the last one that was live; it may have ended. Never nil once the link is used

	// Guarded by Bus.mu.
	session *session        // the one that channels are subscribed on, live or becoming so
	dirty   []*channelState // wait for the reconciler
}

// newLink returns a link that is not connected. A cluster's shard is that of channel.
func (b *Bus) newLink(channel string) *link {
	l := &link{bus: b}
	name := b.options.prefix + "DYN|PROBE|" + id.NewClient() + "{" + channel + "}" // what is in braces decides on the shard
	b.mu.Lock()
	defer b.mu.Unlock()
	l.probe = b.addSubscriberLocked(l, name, fanout.NewSubscriber(false, func([]byte) {})) // coming back is all that it does
	return l
}

// supervise replaces sessions that end.
func (l *link) supervise(s *session) {
	b := l.bus
	for {
		<-s.ctx.Done()
		b.discard(s)
		if b.ctx.Err() != nil {
			return
		}
		b.disconnects.Add(1)
		b.events.Put(bus.Event{Kind: bus.Disconnected, Err: s.err()})
		if s = l.reconnect(); s == nil {
			return
		}
		b.events.Put(bus.Event{Kind: bus.Reconnected})
	}
}

// reconnect returns nil once the bus is closed.
func (l *link) reconnect() *session {
	for pause := minRetry; ; pause = min(2*pause, maxRetry) {
		s, err := l.connect(l.bus.ctx)
		if err == nil {
			return s
		}
		if !l.bus.wait(pause/2 + rand.N(pause/2)) { //nolint:gosec // not a secret
			return nil
		}
	}
}

// wait reports false once the bus is closed.
func (b *Bus) wait(pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-b.ctx.Done():
		return false
	}
}

// connect returns a session on which all of the link's channels are live.
func (l *link) connect(ctx context.Context) (*session, error) {
	b := l.bus
	ctx, cancel := context.WithTimeout(ctx, b.options.connectTimeout)
	defer cancel()
	s, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range b.listChannels() {
		reconciled := func() (bool, error) { return c.link != l || c.reconciledLocked(), nil }
		if err := b.await(ctx, s, c, reconciled); err != nil {
			s.fail(err)
			b.discard(s)
			return nil, s.err()
		}
	}
	l.up.Store(s)
	s.goLive()
	return s, nil
}

// adopt makes s the session that the link's channels are subscribed on.
func (l *link) adopt(s *session) {
	b := l.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	l.session = s
	l.dirty = nil
	for _, c := range b.channels {
		if c.link != l {
			continue
		}
		c.resetLocked()
		if c.desiredLocked() {
			c.markDirtyLocked()
		}
		b.deleteIfUnusedLocked(c)
	}
}

// markDirtyLocked hands c to the reconciler.
func (c *channelState) markDirtyLocked() {
	if !c.dirty {
		c.dirty = true
		c.link.dirty = append(c.link.dirty, c)
	}
	if c.link.session == nil {
		return // the first one will see to it
	}
	select {
	case c.link.session.wake <- struct{}{}:
	default:
	}
}

// rehome finds the link of a channel whose shard has moved.
func (b *Bus) rehome(c *channelState) {
	for b.wait(minRetry) {
		b.topology.moved(b.ctx)
		l, err := b.linkFor(b.ctx, c.name)
		if err != nil {
			continue
		}
		b.mu.Lock()
		c.link = l
		c.resetLocked()
		c.markDirtyLocked()
		c.notifyLocked()
		b.mu.Unlock()
		return
	}
}

// movedTo reports whether a refusal means that the channel's shard is on another server.
func movedTo(err error) bool { return hasCode(err, "MOVED") }
