package redisbus

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/pipeline"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// session is a set of connections to Redis: a pub/sub connection, a pipeline for publications, and
// pipelines for lock attempts. If one of them fails, the whole session ends and the supervisor
// opens a new one. The lock pipelines of a cluster are an exception: they reconnect by themselves.
type session struct {
	bus *core
	// group contains the channels of the session, if the session is attached to it.
	group  *channelGroup
	node   *redis.Client
	ctx    context.Context //nolint:containedctx // canceled when the session ends
	cancel context.CancelCauseFunc
	// workers tracks the goroutines of the session. readLoop delivers frames from the pub/sub
	// connection. reconcileLoop sends commands on that connection and checks it. shareLoop sends
	// delayed lock attempts. Each pipeline has a goroutine that reads its replies.
	workers sync.WaitGroup

	pubsub    *resp.Conn
	publisher *pipeline.Pipeline[publication]
	// locks contains the pipelines for lock attempts.
	locks lockPipelines

	// early holds the frames that arrive before the session is active.
	early earlyFrames
	// sharedFrames holds queue frames whose locks this process has not requested yet. These frames
	// wait so that psrpc processes can take their share; see [share].
	sharedFrames sharedFrames

	// pushes counts what arrives on the pub/sub connection.
	pushes pushCounts
	// wakeup holds a value if there are dirty channels for reconcileLoop (see [channelState]).
	wakeup chan struct{}
	// sent lists the commands to which Redis has not fully replied yet.
	sent sentCommands
}

// newSession returns a session that is not connected yet.
func newSession(b *core, group *channelGroup, node *redis.Client) *session {
	s := &session{
		bus: b, group: group, node: node,
		wakeup: make(chan struct{}, 1),

		sharedFrames: sharedFrames{wakeup: make(chan struct{}, 1)},
	}
	s.locks.init()
	s.ctx, s.cancel = context.WithCancelCause(s.bus.ctx)
	return s
}

// openConns dials the pub/sub connection and the connection of the publisher.
func (s *session) openConns(ctx context.Context) error {
	publisher, err := dialConn(ctx, s.node, s.bus.credentials)
	if err != nil {
		return err
	}
	pubsub, err := dialConn(ctx, s.node, s.bus.credentials)
	if err != nil {
		_ = publisher.Close() // ignore this error, because err already describes the failure
		return err
	}
	s.pubsub = pubsub
	s.publisher = pipeline.New[publication](s.pipelineConfig(s.node, s.bus.options.publishQueue, maxPublishBatch), publisher)
	return nil
}

// pipelineConfig returns the configuration of a pipeline of the session. capacity is the maximum
// number of waiting commands, and maxBatch that of commands in a batch. The failure of a pipeline
// to the session's own node ends the session. Pipelines to other nodes of a cluster dial again.
func (s *session) pipelineConfig(node *redis.Client, capacity, maxBatch int) pipeline.Config {
	return pipeline.Config{
		Session: s, Required: node == s.node, Capacity: capacity, MaxBatch: maxBatch,
		ProbeInterval: s.bus.options.ProbeInterval, Refresh: s.bus.topology.refresh,
		Dial: func(ctx context.Context) (*resp.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, s.bus.options.connectTimeout)
			defer cancel()
			return dialConn(ctx, node, s.bus.credentials)
		},
	}
}

// wake implements attachedSession.
func (s *session) wake() { wakeUp(s.wakeup) }

// Context implements pipeline.Session. The context ends with the session.
func (s *session) Context() context.Context { return s.ctx }

// Fail ends the session with an error that wraps cause. If the session has already ended, Fail does
// nothing.
func (s *session) Fail(cause error) {
	s.cancel(errors.NewErrorf(errors.Unavailable, "redis bus: connection to redis at %s lost: %w",
		addressOf(s.node.Options()), withoutArguments(cause)))
}

// failToConnect is like Fail, but for a session that is not active yet.
func (s *session) failToConnect(cause error) {
	s.cancel(connectError(s.node.Options(), cause))
}

// Err returns the error that ended the session, or nil if the session has not ended. If the bus is
// closed, Err returns bus.ErrClosed.
func (s *session) Err() error {
	if s.bus.ctx.Err() != nil {
		return bus.ErrClosed
	}
	return context.Cause(s.ctx)
}

// discard closes the pub/sub connection of a session that has ended. It returns without waiting for
// the session's goroutines, because the pipelines may still be waiting for replies. Bus.Close waits
// for the goroutines.
func (s *session) discard() {
	s.bus.workers.Go(func() {
		// The next read fails, which ends readLoop.
		_ = s.pubsub.Close()
		s.workers.Wait()
	})
}

// countSubscribers enqueues a command that counts the subscribers of a channel. The caller then
// enqueues the publication. countSubscribers returns nil if there are no observers.
func (s *session) countSubscribers(ctx context.Context, channel string) (*subscriberCount, error) {
	if !s.bus.observers.present.Load() {
		return nil, nil //nolint:nilnil // most publications need no count
	}
	count := &subscriberCount{}
	return count, s.publisher.Enqueue(ctx, publication{bus: s.bus, channel: channel, count: count, counts: true})
}
