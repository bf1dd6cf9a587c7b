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

// session is a set of connections to Redis: a pub/sub socket, a pipeline for publications, and
// pipelines for lock attempts. If one of them fails, the whole session ends and the supervisor
// opens a new one. Only the lock pipelines in a cluster reconnect by themselves.
type session struct {
	bus        *Bus
	supervisor *supervisor
	node       *redis.Client
	ctx        context.Context //nolint:containedctx // canceled when the session ends
	cancel     context.CancelCauseFunc
	// workers tracks the goroutines of the session. readLoop delivers frames from the pub/sub
	// socket. reconcileLoop sends commands on that socket and checks the connection. shareLoop
	// sends delayed lock attempts. Each pipeline has a goroutine that reads its replies.
	workers sync.WaitGroup

	pubsub    *socket
	publisher *pipeline[publication]
	// lockPipelines points to a map from each node key to the pipeline for the locks on that node.
	// The map is never modified: a copy is stored when a pipeline is added.
	lockPipelines atomic.Pointer[map[string]*pipeline[lockAttempt]]
	// lockPipelinesMu is held while a pipeline is added to lockPipelines.
	lockPipelinesMu sync.Mutex
	// locksWanted holds a value if reconcileLoop should open the connections for locks.
	locksWanted chan struct{}
	// locksReady is closed once the connections for locks have been opened.
	locksReady chan struct{}

	// active is set once all channels are subscribed and Publish uses the session.
	active atomic.Bool
	// mu guards buffered. Until the session is active, it also serializes the delivery of frames.
	mu sync.Mutex
	// buffered holds the frames that arrived before the session was active.
	buffered []bufferedFrame

	// sharedFrames holds queue frames whose locks this process has not requested yet. These frames
	// wait so that psrpc processes can take their share; see [share].
	sharedFrames sharedFrames

	// pushesRead counts all pushes received on the pub/sub socket, and pongsRead counts only the
	// replies to PING. Both are used by [prober].
	pushesRead, pongsRead atomic.Uint64
	// wakeup holds a value if there are dirty channels for reconcileLoop (see [channelState]).
	wakeup chan struct{}

	// confirmations counts the replies to SUBSCRIBE and UNSUBSCRIBE commands: one for each channel
	// that Redis has confirmed, and one for each command that it has refused.
	confirmations atomic.Uint64
	// sentCommands lists the commands to which Redis has not fully replied yet, oldest first. It is
	// guarded by Bus.mu.
	sentCommands []*subscribeCommand
}

// bufferedFrame is a frame that arrived before its session was active.
type bufferedFrame struct {
	channel, frame []byte
}

// newSession returns a session that is not connected yet.
func newSession(sup *supervisor, node *redis.Client) *session {
	s := &session{
		bus: sup.bus, supervisor: sup, node: node,
		wakeup:      make(chan struct{}, 1),
		locksWanted: make(chan struct{}, 1),
		locksReady:  make(chan struct{}),

		sharedFrames: sharedFrames{wakeup: make(chan struct{}, 1)},
	}
	s.lockPipelines.Store(&map[string]*pipeline[lockAttempt]{})
	s.ctx, s.cancel = context.WithCancelCause(s.bus.ctx)
	return s
}

// openSockets dials the pub/sub socket and the publisher's socket.
func (s *session) openSockets(ctx context.Context) error {
	publisher, err := dialSocket(ctx, s.node, s.bus.credentials)
	if err != nil {
		return err
	}
	pubsub, err := dialSocket(ctx, s.node, s.bus.credentials)
	if err != nil {
		_ = publisher.Close() // ignore this error, because err already describes the failure
		return err
	}
	pubsub.beforeRead = s.flushLocks
	s.pubsub = pubsub
	s.publisher = newPipeline[publication](s, s.bus.options.publishQueue, maxPublishBatch, s.node, publisher)
	return nil
}

// start starts the goroutines of the session. The goroutine started by discard waits for them.
func (s *session) start() {
	for _, loop := range []func(){s.readLoop, s.reconcileLoop, s.shareLoop, s.publisher.run} {
		s.workers.Go(loop)
	}
}

// fail ends the session with an error that wraps cause. If the session has already ended, fail does
// nothing.
func (s *session) fail(cause error) {
	s.cancel(errors.NewErrorf(errors.Unavailable, "redis bus: connection to redis at %s lost: %w",
		addressOf(s.node.Options()), withoutArguments(cause)))
}

// failToConnect is like fail, but for a session that is not active yet.
func (s *session) failToConnect(cause error) {
	s.cancel(connectError(s.node.Options(), cause))
}

// err returns the error that ended the session, or nil if the session has not ended. If the bus is
// closed, err returns bus.ErrClosed.
func (s *session) err() error {
	if s.bus.ctx.Err() != nil {
		return bus.ErrClosed
	}
	return context.Cause(s.ctx)
}

// discard closes the pub/sub socket of a session that has ended. It returns without waiting for the
// session's goroutines, because the pipelines may still be waiting for replies. Bus.Close waits for
// the goroutines.
func (s *session) discard() {
	s.bus.workers.Go(func() {
		// The next read fails, which ends readLoop.
		_ = s.pubsub.Close()
		s.workers.Wait()
	})
}

// readLoop reads frames, confirmations and error replies from the pub/sub socket until the session
// ends.
func (s *session) readLoop() {
	// Channel names are rarely longer than this buffer.
	var name [256]byte
	for {
		received, err := readPush(s.pubsub.reader, name[:])
		if s.ctx.Err() != nil {
			// A new session may already be receiving the same frames.
			return
		}
		s.pushesRead.Add(1)
		switch {
		case err == nil && received.isMessage():
			s.onMessage(received)
		case err == nil && received.kind == pong:
			s.pongsRead.Add(1)
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

// onMessage delivers a frame. While the session is not active, onMessage buffers the frame instead,
// because a handler could not publish its response yet.
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

// activate delivers the buffered frames, sends the lock attempts for them, and marks the session as
// active. From then on, readLoop delivers frames as they arrive.
func (s *session) activate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, frame := range s.buffered {
		s.deliver(frame.channel, frame.frame)
	}
	s.buffered = nil
	for _, p := range *s.lockPipelines.Load() {
		p.flush(maxInlineBytes)
	}
	s.active.Store(true)
}

// deliver passes a frame to the broadcast subscribers of the channel with the given name. If the
// channel also has queue subscribers in this process, deliver tries to take the lock on the frame
// for them.
func (s *session) deliver(name, frame []byte) {
	s.bus.mu.RLock()
	state := s.bus.channels[string(name)] // this conversion does not allocate memory
	s.bus.mu.RUnlock()
	if state == nil {
		// The last subscriber has just left.
		return
	}
	state.snapshot.Load().subscribers.DeliverBroadcast(frame)
	if snapshot := state.beginLockAttempt(); snapshot != nil {
		attempt := lockAttempt{bus: s.bus, channel: state, snapshot: snapshot, frame: frame, arrived: time.Now()}
		mustWait, onCredit := state.share.addFrame()
		if mustWait && s.waitForShare(attempt) {
			return
		}
		if onCredit {
			attempt.onCredit = &s.sharedFrames
		}
		if err := s.tryLock(attempt); err != nil {
			attempt.finish(err)
		}
	}
}
