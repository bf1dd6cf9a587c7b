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

// supervisor is the way to one server, or to one shard whichever server it is on: one session after another.
type supervisor struct {
	bus        *Bus
	probe      *channelState           // the bus's own: what it publishes there must come back
	lastActive atomic.Pointer[session] // the last one that was live; it may have ended. Never nil once the link is used

	// Guarded by Bus.mu.
	attached *session        // the one that channels are subscribed on, live or becoming so
	dirty    []*channelState // wait for the reconciler
}

// newSupervisor returns a link that is not connected. A cluster's shard is that of channel.
func (b *Bus) newSupervisor(channel string) *supervisor {
	sup := &supervisor{bus: b}
	name := b.options.prefix + "DYN|PROBE|" + id.NewClient() + "{" + channel + "}" // what is in braces decides on the shard
	b.mu.Lock()
	defer b.mu.Unlock()
	sup.probe = b.addSubscriberLocked(sup, name, fanout.NewSubscriber(false, func([]byte) {})) // coming back is all that it does
	return sup
}

// supervise replaces sessions that end.
func (sup *supervisor) supervise(s *session) {
	b := sup.bus
	for {
		<-s.ctx.Done()
		b.discard(s)
		if b.ctx.Err() != nil {
			return
		}
		b.disconnects.Add(1)
		b.events.Put(bus.Event{Kind: bus.Disconnected, Err: s.err()})
		if s = sup.reconnect(); s == nil {
			return
		}
		b.events.Put(bus.Event{Kind: bus.Reconnected})
	}
}

// reconnect returns nil once the bus is closed.
func (sup *supervisor) reconnect() *session {
	for pause := minRetryPause; ; pause = min(2*pause, maxRetryPause) {
		s, err := sup.connect(sup.bus.ctx)
		if err == nil {
			return s
		}
		if !sup.bus.sleep(pause/2 + rand.N(pause/2)) { //nolint:gosec // not a secret
			return nil
		}
	}
}

// sleep reports false once the bus is closed.
func (b *Bus) sleep(pause time.Duration) bool {
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
func (sup *supervisor) connect(ctx context.Context) (*session, error) {
	b := sup.bus
	ctx, cancel := context.WithTimeout(ctx, b.options.connectTimeout)
	defer cancel()
	s, err := sup.openSession(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range b.listChannels() {
		reconciled := func() (bool, error) { return c.supervisor != sup || c.reconciledLocked(), nil }
		if err := b.waitForChannel(ctx, s, c, reconciled); err != nil {
			s.fail(err)
			b.discard(s)
			return nil, s.err()
		}
	}
	sup.lastActive.Store(s)
	s.activate()
	return s, nil
}

// attach makes s the session that the link's channels are subscribed on.
func (sup *supervisor) attach(s *session) {
	b := sup.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	sup.attached = s
	sup.dirty = nil
	for _, c := range b.channels {
		if c.supervisor != sup {
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
		c.supervisor.dirty = append(c.supervisor.dirty, c)
	}
	if c.supervisor.attached == nil {
		return // the first one will see to it
	}
	select {
	case c.supervisor.attached.wakeup <- struct{}{}:
	default:
	}
}

// reassignNode finds the link of a channel whose shard has moved.
func (b *Bus) reassignNode(c *channelState) {
	for b.sleep(minRetryPause) {
		b.topology.refresh(b.ctx)
		sup, err := b.supervisorFor(b.ctx, c.name)
		if err != nil {
			continue
		}
		b.mu.Lock()
		c.supervisor = sup
		c.resetLocked()
		c.markDirtyLocked()
		c.notifyLocked()
		b.mu.Unlock()
		return
	}
}

// isMoved reports whether a refusal means that the channel's shard is on another server.
func isMoved(err error) bool { return hasCode(err, "MOVED") }
