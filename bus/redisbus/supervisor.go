package redisbus

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
)

// minRetryPause and maxRetryPause bound the pause between two attempts to connect.
const minRetryPause, maxRetryPause = 25 * time.Millisecond, 400 * time.Millisecond

// supervisor keeps a session with one Redis server, or with one shard of a cluster whichever server
// has it. It replaces a session that has failed by a new one, and never repairs a session: after a
// failure it is unknown which commands Redis has run, so starting over is the only recovery path.
type supervisor struct {
	bus *Bus
	// probe is a private channel of the bus. Frames that the bus publishes on it must come back.
	probe *channelState
	// lastActive is the session that was activated last; it may have ended. It is not nil once the
	// bus uses the supervisor.
	lastActive atomic.Pointer[session]

	// Bus.mu guards the fields below.

	// attached is the session on which channels are subscribed. It is active, or will be when Redis
	// has confirmed them.
	attached *session
	// dirty has the channels that wait for the reconcile loop of the attached session.
	dirty []*channelState
}

// newSupervisor returns a supervisor without a session. In a cluster with sharded pub/sub it is for
// the shard of channel.
func (b *Bus) newSupervisor(channel string) *supervisor {
	sup := &supervisor{bus: b}
	// A cluster hashes only what is in braces, so the probe channel is on the same shard as
	// channel.
	name := b.options.prefix + "DYN|PROBE|" + id.NewClient() + "{" + channel + "}"
	ignore := func([]byte) {} // session.readLoop counts the frame, which is all that a probe is for
	b.mu.Lock()
	defer b.mu.Unlock()
	sup.probe = b.addSubscriberLocked(sup, name, fanout.NewSubscriber(false, ignore))
	return sup
}

// supervise waits for the end of s and of each session after it, and replaces it, until the bus is
// closed.
func (sup *supervisor) supervise(s *session) {
	b := sup.bus
	for {
		<-s.ctx.Done()
		s.discard()
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

// reconnect tries to connect until it succeeds. It returns nil once the bus is closed. The pauses
// grow, and are random so that the processes of a fleet do not all connect at the same moment after
// Redis has restarted.
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

// connect opens a session, waits until Redis has confirmed or refused all channels of the
// supervisor, and activates the session. Publishing starts only then: a request that is published
// earlier could be answered on a channel that is not subscribed yet.
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
			s.discard()
			return nil, s.err()
		}
	}
	sup.lastActive.Store(s)
	s.activate()
	return s, nil
}

// openSession opens a session, starts its goroutines and subscribes to all channels of the
// supervisor. It does not wait for Redis to confirm them.
func (sup *supervisor) openSession(ctx context.Context) (*session, error) {
	b := sup.bus
	node, err := b.topology.node(ctx, sup.probe.name)
	if err != nil {
		return nil, errors.NewErrorf(errors.Unavailable, "redis bus: cannot find a node to connect to: %w", err)
	}
	s := newSession(sup, node.WithTimeout(b.options.probeInterval))
	sup.attach(s)
	if err := s.openSockets(ctx); err != nil {
		s.fail(err)
		return nil, s.err()
	}
	s.start()
	return s, nil
}

// attach makes s the session on which the supervisor's channels are subscribed. All of them that
// have subscribers become dirty, so that the first reconcile of s subscribes to them.
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
