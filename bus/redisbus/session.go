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

// session is one life of the connections to Redis: it ends with the first thing that fails.
type session struct {
	bus           *Bus
	supervisor    *supervisor
	ctx           context.Context //nolint:containedctx // the life of the session: it ends with it
	cancel        context.CancelCauseFunc
	pubsub        *socket
	publisher     *pipeline[publication]
	node          *redis.Client
	lockPipelines map[string]*pipeline[lockAttempt] // by the server that has the locks; theirs who delivers
	workers       sync.WaitGroup

	active   atomic.Bool
	mu       sync.Mutex      // taken by whoever delivers before the session is live
	buffered []bufferedFrame // came before; guarded by mu

	pushesRead atomic.Uint64 // counts what Redis sent on the pub/sub connection
	wakeup     chan struct{} // holds a token if there are dirty channels

	sentCommands []*subscribeCommand // sent and not answered in full, in their order; guarded by Bus.mu
}

// bufferedFrame is a frame that came before its session was live.
type bufferedFrame struct {
	channel, frame []byte
}

// openSession makes a session that is not live yet, or fails by the end of ctx.
func (sup *supervisor) openSession(ctx context.Context) (*session, error) {
	b := sup.bus
	node, err := b.topology.node(ctx, sup.probe.name)
	if err != nil {
		return nil, errors.NewErrorf(errors.Unavailable, "redis bus: choosing a node: %w", err)
	}
	node = node.WithTimeout(b.options.probeInterval)
	s := &session{bus: b, supervisor: sup, node: node, lockPipelines: map[string]*pipeline[lockAttempt]{}, wakeup: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancelCause(b.ctx)
	sup.attach(s)
	if err := s.openSockets(ctx); err != nil {
		s.fail(err)
		return nil, s.err()
	}
	for _, work := range []func(){s.readLoop, s.reconcileLoop, s.probeLoop, s.publisher.run} {
		s.workers.Go(work) // discard waits for all of them
	}
	return s, nil
}

// openSockets makes the connections, and asks for the channels.
func (s *session) openSockets(ctx context.Context) error {
	publisher, err := dialSocket(ctx, s.node)
	if err != nil {
		return err
	}
	pubsub, err := dialSocket(ctx, s.node)
	if err != nil {
		_ = publisher.Close() // the first error says more
		return err
	}
	pubsub.beforeRead = s.flushLocks
	s.pubsub = pubsub
	s.publisher = newPipeline[publication](s, s.bus.options.publishQueue, maxPublishBatch, s.node, publisher)
	if err = s.reconcile(); err != nil {
		_, _ = publisher.Close(), pubsub.Close() // as above
	}
	return err
}

// fail ends the session. Only the first reason counts.
func (s *session) fail(cause error) {
	s.cancel(errors.NewErrorf(errors.Unavailable, "redis bus is down: %w", cause))
}

// err returns why the session ended, nil as long as it has not.
func (s *session) err() error {
	if s.bus.ctx.Err() != nil {
		return bus.ErrClosed
	}
	return context.Cause(s.ctx)
}

// discard lets go of a session that has ended. It does not wait for what Redis may have yet to answer: the bus does
// when it is closed.
func (b *Bus) discard(s *session) {
	b.workers.Go(func() {
		_ = s.pubsub.Close() // ends the reader
		s.workers.Wait()
	})
}

// readLoop hands on what comes from Redis until the session ends.
func (s *session) readLoop() {
	var names [256]byte // most are shorter
	for {
		received, err := readPush(s.pubsub.reader, names[:])
		if s.ctx.Err() != nil {
			return // another session may have begun, which gets the same frames
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

// onMessage keeps what comes while other channels wait for their confirmation: it could not be answered yet.
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

// activate is called when the session is the one that is published on.
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

// deliver gives a frame to the channel's members, and to the contest for the lock if there is a queue.
func (s *session) deliver(name, frame []byte) {
	s.bus.mu.RLock()
	state := s.bus.channels[string(name)] // does not allocate
	s.bus.mu.RUnlock()
	if state == nil {
		return // the last member has just left
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

// tryLock puts a frame of a queue into the lane of its lock.
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
		// Without its lock no frame of a queue is delivered. A cluster has several servers with locks.
		p = newPipeline[lockAttempt](s, lockCapacity, maxLockBatch, node, nil)
		s.lockPipelines[nodeKey] = p
		s.workers.Go(p.run) // discard waits for it, as for the reader that is here
	}
	return p.enqueue(s.ctx, attempt)
}

// flushLocks asks for the locks of all frames that have come, once there are no more for now.
func (s *session) flushLocks() {
	if !s.active.Load() {
		return // activate does
	}
	for _, p := range s.lockPipelines {
		p.flush(maxInlineBytes)
	}
}

// probeLoop watches that frames come. If none came for half the interval it publishes one that must come back.
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
			s.fail(fmt.Errorf("no sign of life for %v",
				s.bus.options.probeInterval*(ticks+1)/ticks))
		}
	}
}
