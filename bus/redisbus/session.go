package redisbus

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// noReconnect is a context that has ended. A redis.PubSub dials anew by itself when its connection fails, with the
// context of whoever found out; with this one it cannot. A session whose connection fails is over.
var noReconnect = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// session is one life of the connections to Redis: it ends with the first thing that fails.
type session struct {
	bus     *Bus
	link    *link
	ctx     context.Context //nolint:containedctx // the life of the session: it ends with it
	cancel  context.CancelCauseFunc
	pubsub  *redis.PubSub
	publish *lane[publication]
	node    *redis.Client
	locks   map[string]*lane[contest] // by the server that has the locks; theirs who delivers
	workers sync.WaitGroup

	live  atomic.Bool
	mu    sync.Mutex       // taken by whoever delivers before the session is live
	early []*redis.Message // came before; guarded by mu

	heard atomic.Uint64 // counts what Redis sent on the pub/sub connection
	wake  chan struct{} // holds a token if there are dirty channels

	commands []*subscribeCommand // sent and not answered in full, in their order; guarded by Bus.mu
}

// dial makes a session that is not live yet, or fails by the end of ctx.
func (l *link) dial(ctx context.Context) (*session, error) {
	b := l.bus
	node, err := b.topology.node(ctx, l.probe.name)
	if err != nil {
		return nil, errors.NewErrorf(errors.Unavailable, "redis bus: choosing a node: %w", err)
	}
	node = node.WithTimeout(b.options.probeInterval)
	s := &session{
		bus: b, link: l, node: node, locks: map[string]*lane[contest]{},
		wake: make(chan struct{}, 1), pubsub: node.Subscribe(ctx),
	}
	s.ctx, s.cancel = context.WithCancelCause(b.ctx)
	s.publish = newLane(b.options.publishQueue, node, true, b.newPublishSlot)

	l.adopt(s)
	if err = s.reconcile(ctx); err == nil {
		err = s.publish.connection.Ping(ctx).Err() // fails too while Redis is loading its data
	}
	if err != nil {
		s.fail(err)
		_ = s.publish.connection.Close()
		b.discard(s)
		return nil, s.err()
	}
	for _, work := range []func(){s.read, s.keepReconciled, s.probe} {
		s.workers.Go(work) // discard waits for all of them
	}
	s.workers.Go(func() { s.publish.run(s) })
	return s, nil
}

// fail ends the session. Only the first reason counts.
func (s *session) fail(reason error) {
	s.cancel(errors.NewErrorf(errors.Unavailable, "redis bus is down: %w", reason))
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

// read hands on what comes from Redis until the session ends.
func (s *session) read() {
	for {
		received, err := s.pubsub.ReceiveTimeout(noReconnect, 0)
		if s.ctx.Err() != nil {
			return // another session may have begun, which gets the same frames
		}
		s.heard.Add(1)
		switch message := received.(type) {
		case *redis.Message:
			s.received(message)
		case *redis.Subscription:
			s.confirmed(message)
		case nil:
			if !isReply(err) {
				s.fail(fmt.Errorf("receiving: %w", err))
				return
			}
			s.refused(err)
		}
	}
}

// received keeps what comes while other channels wait for their confirmation: it could not be answered yet.
func (s *session) received(message *redis.Message) {
	s.bus.received.Add(1)
	if !s.live.Load() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.live.Load() {
			s.early = append(s.early, message)
			return
		}
	}
	s.deliver(message)
}

// goLive is called when the session is the one that is published on.
func (s *session) goLive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, message := range s.early {
		s.deliver(message)
	}
	s.early = nil
	s.live.Store(true)
}

// deliver gives a frame to the channel's members, and to the contest for the lock if there is a queue.
func (s *session) deliver(message *redis.Message) {
	s.bus.mu.RLock()
	channel := s.bus.channels[message.Channel]
	s.bus.mu.RUnlock()
	if channel == nil {
		return // the last member has just left
	}
	//nolint:gosec // a receiver does not change a frame
	frame := unsafe.Slice(unsafe.StringData(message.Payload), len(message.Payload))
	channel.audience.Load().members.DeliverPlain(frame)
	if audience := channel.enter(); audience != nil {
		item := contest{channel: channel, audience: audience, frame: frame}
		if s.contend(item) != nil {
			audience.contests.Leave()
			s.bus.dropped.Add(1)
		}
	}
}

// contend puts a frame of a queue into the lane of its lock.
func (s *session) contend(item contest) error {
	node, name, err := s.bus.topology.lockNode(s.ctx, s.node, item.frame)
	if err != nil {
		return err
	}
	lane := s.locks[name]
	if lane == nil {
		// Without its lock no frame of a queue is delivered. A cluster has several servers with locks.
		essential := node == s.node
		lane = newLane(lockQueue, node.WithTimeout(s.bus.options.probeInterval), essential, s.bus.newLockSlot)
		s.locks[name] = lane
		s.workers.Go(func() { lane.run(s) }) // discard waits for it, as for the reader that is here
	}
	return lane.push(s.ctx, s, item)
}

// probe watches that frames come. If none came for half the interval it publishes one that must come back.
func (s *session) probe() {
	const ticks = 4
	ticker := time.NewTicker(max(s.bus.options.probeInterval/ticks, 1))
	defer ticker.Stop()
	last, silent := s.heard.Load(), 0
	for {
		select {
		case <-ticker.C:
		case <-s.ctx.Done():
			return
		}
		if now := s.heard.Load(); now != last {
			last, silent = now, 0
			continue
		}
		switch silent++; silent {
		case ticks / 2:
			if s.publish.push(s.ctx, s, publication{channel: s.link.probe.name}) != nil {
				return
			}
		case ticks + 1:
			s.fail(fmt.Errorf("no sign of life for %v",
				s.bus.options.probeInterval*(ticks+1)/ticks))
		}
	}
}
