package redisbus

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// session is one set of connections to one Redis server: a pub/sub socket, a pipeline of
// publications, and pipelines of lock attempts. The first failure on any of them ends the session
// as a whole, and the supervisor opens the next one. Only the pipelines to the other servers of a
// cluster recover by themselves.
//
// Each session has these goroutines: readLoop reads the pub/sub socket and delivers frames,
// reconcileLoop writes to it, probeLoop checks that the connection is alive, and each pipeline
// reads its replies.
type session struct {
	bus        *Bus
	supervisor *supervisor
	node       *redis.Client
	ctx        context.Context //nolint:containedctx // it ends with the session
	cancel     context.CancelCauseFunc
	// workers has the goroutines of the session.
	workers sync.WaitGroup

	pubsub    *socket
	publisher *pipeline[publication]
	// lockPipelines has a pipeline for each server that has locks, by node key. Only the goroutine
	// that delivers frames uses it: readLoop in an active session, before that the one that runs
	// activate.
	lockPipelines map[string]*pipeline[lockAttempt]

	// active is set once all channels are subscribed and Publish uses the session.
	active atomic.Bool
	// mu guards buffered, and delivery until the session is active.
	mu sync.Mutex
	// buffered has the frames that arrived before the session was active.
	buffered []bufferedFrame

	// pushesRead counts what Redis has sent on the pub/sub socket, so that probeLoop notices
	// silence.
	pushesRead atomic.Uint64
	// wakeup holds a token if channels are dirty.
	wakeup chan struct{}

	// sentCommands has the commands without all their replies, oldest first. Bus.mu guards it.
	sentCommands []*subscribeCommand
}

// bufferedFrame is a frame that arrived before its session was active.
type bufferedFrame struct {
	channel, frame []byte
}

// newSession returns a session without sockets.
func newSession(sup *supervisor, node *redis.Client) *session {
	s := &session{
		bus: sup.bus, supervisor: sup, node: node,
		lockPipelines: map[string]*pipeline[lockAttempt]{},
		wakeup:        make(chan struct{}, 1),
	}
	s.ctx, s.cancel = context.WithCancelCause(s.bus.ctx)
	return s
}

// openSockets dials the two sockets and sends a SUBSCRIBE for the dirty channels.
func (s *session) openSockets(ctx context.Context) error {
	publisher, err := dialSocket(ctx, s.node)
	if err != nil {
		return err
	}
	pubsub, err := dialSocket(ctx, s.node)
	if err != nil {
		_ = publisher.Close() // err is the error to report
		return err
	}
	pubsub.beforeRead = s.flushLocks
	s.pubsub = pubsub
	s.publisher = newPipeline[publication](s, s.bus.options.publishQueue, maxPublishBatch, s.node, publisher)
	if err = s.reconcile(); err != nil {
		_, _ = publisher.Close(), pubsub.Close() // err is the error to report
	}
	return err
}

// start starts the session's goroutines. discard waits for them.
func (s *session) start() {
	for _, loop := range []func(){s.readLoop, s.reconcileLoop, s.probeLoop, s.publisher.run} {
		s.workers.Go(loop)
	}
}

// fail ends the session. Its error is that of the first call.
func (s *session) fail(cause error) {
	s.cancel(errors.NewErrorf(errors.Unavailable, "redis bus: connection to redis lost: %w", cause))
}

// err returns why the session has ended, or nil if it has not. It is bus.ErrClosed once the bus is
// closed.
func (s *session) err() error {
	if s.bus.ctx.Err() != nil {
		return bus.ErrClosed
	}
	return context.Cause(s.ctx)
}

// discard closes the pub/sub socket of a session that has ended. It does not wait for the session's
// goroutines, because the pipelines may still wait for replies; Bus.Close does.
func (s *session) discard() {
	s.bus.workers.Go(func() {
		_ = s.pubsub.Close() // ends readLoop
		s.workers.Wait()
	})
}

// readLoop reads messages, confirmations and refusals from the pub/sub socket until the session
// ends.
func (s *session) readLoop() {
	var name [256]byte // reused for channel names, most of which are shorter
	for {
		received, err := readPush(s.pubsub.reader, name[:])
		if s.ctx.Err() != nil {
			return // the next session may have begun, and Redis sends it the same frames
		}
		s.pushesRead.Add(1)
		switch {
		case err == nil && received.isMessage():
			s.onMessage(received)
		case err == nil:
			s.onConfirmed(received)
		case isRedisError(err):
			s.onRefused(err)
		default:
			s.fail(fmt.Errorf("receiving: %w", err))
			return
		}
	}
}

// onMessage delivers a frame, or buffers it while the session is not active: a handler could not
// publish its response yet.
func (s *session) onMessage(message push) {
	s.bus.received.Add(1)
	if !s.active.Load() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.active.Load() {
			s.buffered = append(s.buffered, bufferedFrame{channel: bytes.Clone(message.channel), frame: message.message})
			return
		}
	}
	s.deliver(message.channel, message.message)
}

// activate delivers the buffered frames. From then on, frames are delivered as they arrive.
func (s *session) activate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, frame := range s.buffered {
		s.deliver(frame.channel, frame.frame)
	}
	s.buffered = nil
	for _, p := range s.lockPipelines {
		p.flush(maxInlineBytes)
	}
	s.active.Store(true)
}

// deliver delivers a frame to the broadcast subscribers of a channel. If the channel has queue
// subscribers in this process, deliver also tries to take the frame's lock.
func (s *session) deliver(name, frame []byte) {
	s.bus.mu.RLock()
	state := s.bus.channels[string(name)] // does not allocate
	s.bus.mu.RUnlock()
	if state == nil {
		return // the last subscriber has just left
	}
	state.snapshot.Load().subscribers.DeliverBroadcast(frame)
	if snapshot := state.beginLockAttempt(); snapshot != nil {
		attempt := lockAttempt{bus: s.bus, channel: state, snapshot: snapshot, frame: frame}
		if s.tryLock(attempt) != nil {
			snapshot.pendingLocks.Leave()
			s.bus.dropped.Add(1)
		}
	}
}

// tryLock enqueues a lock attempt in the pipeline to the server that has the lock. flushLocks
// writes it.
//
// If it returns an error, the attempt was not enqueued and will not finish.
func (s *session) tryLock(attempt lockAttempt) error {
	node, nodeKey, err := s.bus.topology.lockNode(s.ctx, s.node, attempt.frame)
	if err != nil {
		return err
	}
	p := s.lockPipelines[nodeKey]
	if p == nil {
		if node != s.node {
			node = node.WithTimeout(s.bus.options.probeInterval)
		}
		// In a cluster the locks are spread over all masters, so each master gets a pipeline when
		// its first lock is needed.
		p = newPipeline[lockAttempt](s, lockCapacity, maxLockBatch, node, nil)
		s.lockPipelines[nodeKey] = p
		s.workers.Go(p.run) // discard waits for it
	}
	return p.enqueue(s.ctx, attempt)
}

// flushLocks writes the lock attempts of all frames that have arrived. The pub/sub socket calls it
// before each Read, when its buffer is empty: lock attempts of a burst of frames share a write, and
// those of a single frame do not wait.
func (s *session) flushLocks() {
	if !s.active.Load() {
		return // activate flushes
	}
	for _, p := range s.lockPipelines {
		p.flush(maxInlineBytes)
	}
}

// probeLoop ends the session if Redis is silent. After half a probe interval without a push it
// publishes a frame on the supervisor's probe channel. The frame must come back: it is the only way
// to notice that a connection loses bytes while its socket stays open, because a subscriber has
// nothing to send and therefore gets no error.
func (s *session) probeLoop() {
	const ticks = 4
	ticker := time.NewTicker(max(s.bus.options.probeInterval/ticks, 1))
	defer ticker.Stop()
	last, silent := s.pushesRead.Load(), 0
	for {
		select {
		case <-ticker.C:
		case <-s.ctx.Done():
			return
		}
		if now := s.pushesRead.Load(); now != last {
			last, silent = now, 0
			continue
		}
		switch silent++; silent {
		case ticks / 2:
			if s.publisher.send(s.ctx, publication{bus: s.bus, channel: s.supervisor.probe.name}) != nil {
				return
			}
		case ticks + 1:
			s.fail(fmt.Errorf("nothing received for %v, not even a probe",
				s.bus.options.probeInterval*(ticks+1)/ticks))
		}
	}
}
