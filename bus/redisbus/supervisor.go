package redisbus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// minRetryPause and maxRetryPause limit the pause between two attempts to connect or to take a
// lock. Between attempts to connect, random jitter shortens the pause by up to half.
const minRetryPause, maxRetryPause = 25 * time.Millisecond, 400 * time.Millisecond

// supervisor maintains a session with one Redis server. With sharded pub/sub, this is the server
// that currently owns the supervisor's shard. The supervisor never repairs a failed session but
// replaces it with a new one. After a failure it is unknown which commands Redis has executed, so
// starting over is the only safe recovery.
type supervisor struct {
	bus *Bus
	// channel is one of the channels of the supervisor's shard. It matters only if pub/sub is
	// sharded.
	channel string
	// lastActive is the session that was activated most recently. That session may have ended.
	// lastActive is not nil once the supervisor has been added to the bus.
	lastActive atomic.Pointer[session]
	// outage is the error of the last attempt to connect again. It is nil if there has been no such
	// attempt since the last session was activated.
	outage atomic.Pointer[error]

	// Bus.mu guards the fields below.

	// attached is the session on which new channels are subscribed. It becomes active once Redis
	// has confirmed its subscriptions.
	attached *session
	// dirty lists the channels that are waiting for the reconcile loop of the attached session.
	dirty []*channelState
	// nextReplacement is the earliest time at which a session may be replaced because its server is
	// read-only.
	nextReplacement time.Time
	// replacementPause is the pause after the next replacement of a session whose server is
	// read-only.
	replacementPause time.Duration
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
		b.disconnects.Add(1)
		b.events.Put(bus.Event{Kind: bus.Disconnected, Err: s.err()})
		if s = sup.reconnect(); s == nil {
			return
		}
		b.events.Put(bus.Event{Kind: bus.Reconnected})
	}
}

// reconnect tries to connect until it succeeds. It returns nil if the bus is closed. The pauses
// between attempts grow, and they are random so that many processes do not all connect at the same
// moment after Redis has restarted.
func (sup *supervisor) reconnect() *session {
	outage := outageEvents{bus: sup.bus, start: time.Now()}
	for pause := minRetryPause; ; pause = min(2*pause, maxRetryPause) {
		s, err := sup.connect(sup.bus.ctx)
		if err == nil {
			sup.outage.Store(nil)
			return s
		}
		outage.add(err)
		if errors.Is(err, context.DeadlineExceeded) {
			// The error must not look as if the context of a caller of Publish had ended.
			err = errors.NewErrorf(errors.Unavailable, "%v", err)
		}
		sup.outage.Store(&err)
		if !sup.bus.sleep(pause/2 + rand.N(pause/2)) { //nolint:gosec // jitter does not need secure random numbers
			return nil
		}
	}
}

// session returns the session to use. It returns an error if that session has ended. The error
// contains the reason why the bus has not connected again so far.
func (sup *supervisor) session() (*session, error) {
	s := sup.lastActive.Load()
	err := s.ctx.Err()
	if err == nil {
		return s, nil
	}
	if err = s.err(); errors.Is(err, bus.ErrClosed) {
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
			return nil, s.err()
		}
	}
	if b.hasQueues(sup) {
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
	reconciled := func() (bool, error) { return c.supervisor != sup || c.reconciledLocked(), nil }
	for {
		before := s.confirmations.Load()
		waitCtx, cancel := context.WithTimeout(ctx, timeout)
		err := sup.bus.waitForChannel(waitCtx, s, c, reconciled)
		timedOut := waitCtx.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err == nil || !timedOut:
			return err
		case s.confirmations.Load() == before:
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
	s := newSession(sup, node.WithTimeout(b.options.probeInterval))
	sup.attach(s)
	if err := s.openSockets(ctx); err != nil {
		s.failToConnect(err)
		return nil, s.err()
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
