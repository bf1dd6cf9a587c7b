package redisbus

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/backoff"
)

// minReplacementPause and maxReplacementPause limit the pause between two replacements of a session
// whose server is read-only.
const minReplacementPause, maxReplacementPause = time.Second, time.Minute

// supervisor maintains a session with one Redis server. With sharded pub/sub, this is the server
// that currently owns the supervisor's shard. The supervisor never repairs a failed session but
// replaces it with a new one. After a failure it is unknown which commands Redis has executed, so
// starting over is the only safe recovery.
type supervisor struct {
	// channelGroup contains the channels of the supervisor.
	channelGroup

	bus *core
	// channel is any channel of the supervisor's shard. It is used to find the server of the shard
	// if pub/sub is sharded.
	channel string
	// lastActive is the session that was activated most recently. That session may have ended.
	// lastActive is not nil once the supervisor has been added to the bus.
	lastActive atomic.Pointer[session]
	// outage is the error of the last failed attempt to reconnect. It is nil if no attempt has
	// failed since the last session was activated.
	outage atomic.Pointer[error]

	// core.mu guards the fields below.

	// nextReplacement is the earliest time at which a session may be replaced because its server is
	// read-only.
	nextReplacement time.Time
	// replacementPause is the pause after the next replacement of a session whose server is
	// read-only.
	replacementPause time.Duration
}

// newSupervisor returns a supervisor without a session. channel is any channel of its shard.
func newSupervisor(b *core, channel string) *supervisor {
	sup := &supervisor{bus: b, channel: channel}
	sup.replaceReadOnlyLocked = sup.replaceReadOnlySessionLocked
	return sup
}

// supervise waits for s to end and replaces it with a new session, which it then supervises in the
// same way. It returns when the bus is closed.
func (sup *supervisor) supervise(s *session) {
	b := sup.bus
	for {
		<-s.ctx.Done()
		s.discard()
		if b.ctx.Err() != nil {
			return
		}
		b.counters.Disconnects.Add(1)
		b.events.Disconnected(s.Err())
		if s = sup.reconnect(); s == nil {
			return
		}
		b.events.Reconnected()
	}
}

// reconnect tries to connect until it succeeds. It returns nil if the bus is closed. The pauses
// between attempts grow, and they are random so that many processes do not all connect at the same
// moment after Redis has restarted.
func (sup *supervisor) reconnect() *session {
	outage := outageEvents{bus: sup.bus, start: time.Now()}
	pauses := backoff.Backoff{Min: minRetryPause, Max: maxRetryPause}
	for attempt := 1; ; attempt++ {
		s, err := sup.connect(sup.bus.ctx)
		if err == nil {
			sup.outage.Store(nil)
			return s
		}
		outage.add(err)
		if errors.Is(err, context.DeadlineExceeded) {
			// Publish returns this error, which must not look as if the caller's context had ended.
			err = errors.NewErrorf(errors.Unavailable, "%v", err)
		}
		sup.outage.Store(&err)
		if !sup.bus.sleep(pauses.Jittered(attempt)) {
			return nil
		}
	}
}

// session returns the session to use, or an error if that session has ended. The error says why the
// last attempt to reconnect has failed or, before the first attempt, why the session has ended.
func (sup *supervisor) session() (*session, error) {
	s := sup.lastActive.Load()
	err := s.ctx.Err()
	if err == nil {
		return s, nil
	}
	if err = s.Err(); errors.Is(err, bus.ErrClosed) {
		return nil, err
	}
	if outage := sup.outage.Load(); outage != nil {
		return nil, *outage
	}
	return nil, err
}

// connect opens a session, waits until Redis has confirmed or refused all channels of the
// supervisor, and activates the session. Publishing on the session is not possible before that,
// because the response to a request could arrive on a channel that is not subscribed yet.
func (sup *supervisor) connect(ctx context.Context) (*session, error) {
	b := sup.bus
	s, err := sup.openSession(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range b.listChannels() {
		if err := sup.waitReconciled(ctx, s, c); err != nil {
			s.failToConnect(err)
			s.discard()
			return nil, s.Err()
		}
	}
	if b.hasQueues(&sup.channelGroup) {
		s.requestLocks()
	}
	sup.lastActive.Store(s)
	s.activate()
	return s, nil
}

// waitReconciled waits until Redis has confirmed or refused c. It returns an error if ctx or the
// session ends, or if Redis neither confirms nor refuses any channel during the connect timeout. A
// bus with very many channels thus gets the time it needs.
func (sup *supervisor) waitReconciled(ctx context.Context, s *session, c *channelState) error {
	timeout := sup.bus.options.connectTimeout
	reconciled := func() (bool, error) { return c.group != &sup.channelGroup || c.reconciledLocked(), nil }
	for {
		before := s.sent.replies.Load()
		waitCtx, cancel := context.WithTimeout(ctx, timeout)
		err := sup.bus.waitForChannel(waitCtx, s, c, reconciled)
		timedOut := waitCtx.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err == nil || !timedOut:
			return err
		case s.sent.replies.Load() == before:
			return fmt.Errorf("no channel has been confirmed for %v", timeout)
		}
	}
}

// openSession opens a session and starts its goroutines, which send the commands that subscribe to
// all channels of the supervisor. It does not wait for Redis to confirm the channels.
func (sup *supervisor) openSession(ctx context.Context) (*session, error) {
	b := sup.bus
	ctx, cancel := context.WithTimeout(ofBus(ctx), b.options.connectTimeout)
	defer cancel()
	node, err := b.topology.node(ctx, sup.channel)
	if err != nil {
		return nil, nodeError(b.client, err)
	}
	s := newSession(b, &sup.channelGroup, node.WithTimeout(b.options.ProbeInterval))
	sup.attach(s)
	if err := s.openConns(ctx); err != nil {
		s.failToConnect(err)
		return nil, s.Err()
	}
	s.start()
	return s, nil
}

// attach makes s the session on which the supervisor's channels are subscribed. It marks all
// channels that have subscribers as dirty, so that the first call to s.reconcile subscribes to
// them.
func (sup *supervisor) attach(s *session) {
	b := sup.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	sup.attached = s
	sup.dirty = nil
	for _, c := range b.channels {
		if c.group != &sup.channelGroup {
			continue
		}
		c.resetLocked()
		if c.desiredLocked() {
			c.markDirtyLocked()
		}
		b.deleteIfUnusedLocked(c)
	}
}

// replaceReadOnlySessionLocked replaces the session after its server has become a replica and
// refuses locks. New connections lead to the new master, but the existing ones stay open until the
// session is replaced. The server may also be read-only on purpose, so the pause between two
// replacements doubles each time. During the pause, replaceReadOnlySessionLocked does nothing.
func (sup *supervisor) replaceReadOnlySessionLocked() {
	if time.Now().Before(sup.nextReplacement) {
		return
	}
	if time.Since(sup.nextReplacement) > maxReplacementPause {
		sup.replacementPause = minReplacementPause
	}
	sup.nextReplacement = time.Now().Add(sup.replacementPause)
	sup.replacementPause = min(2*sup.replacementPause, maxReplacementPause)
	sup.lastActive.Load().Fail(errors.New("the server has become a replica"))
}
