package redisbus

import (
	"context"
	"maps"
	"sync"

	"github.com/redis/go-redis/v9"
)

// tryLock adds a lock attempt to the pipeline for the server that stores the lock. flushLocks sends
// it later.
//
// If tryLock returns an error, the attempt has not been added and will never be completed.
func (s *session) tryLock(attempt lockAttempt) error {
	node, nodeKey, err := s.bus.topology.lockNode(s.ctx, s.node, attempt.frame)
	if err != nil {
		return err
	}
	p := (*s.lockPipelines.Load())[nodeKey]
	if p == nil {
		// The cluster has a new master, or openLocks could not connect to this node.
		p = s.addLockPipeline(nodeKey, node, nil)
	}
	return p.enqueue(s.ctx, attempt)
}

// flushLocks sends the lock attempts for all frames that have arrived. The pub/sub socket calls
// flushLocks before each Read, when its buffer is empty. As a result, the attempts for a burst of
// frames share a write, while an attempt for a single frame is sent without delay.
func (s *session) flushLocks() {
	if !s.active.Load() {
		// The method activate flushes the pipelines later.
		return
	}
	for _, p := range *s.lockPipelines.Load() {
		p.flush(maxInlineBytes)
	}
}

// addLockPipeline returns the pipeline for the locks on a node. If the pipeline does not exist yet,
// addLockPipeline adds and starts it. If socket is nil, the pipeline dials when the first attempt
// is added. A goroutine of the session must call addLockPipeline, so that discard waits for the
// pipeline.
func (s *session) addLockPipeline(nodeKey string, node *redis.Client, socket *socket) *pipeline[lockAttempt] {
	s.lockPipelinesMu.Lock()
	defer s.lockPipelinesMu.Unlock()
	pipelines := *s.lockPipelines.Load()
	if p := pipelines[nodeKey]; p != nil {
		if socket != nil {
			// The existing pipeline has its own socket.
			_ = socket.Close()
		}
		return p
	}
	p := newPipeline[lockAttempt](s, lockCapacity, maxLockBatch, s.limited(node), socket)
	pipelines = maps.Clone(pipelines)
	pipelines[nodeKey] = p
	s.lockPipelines.Store(&pipelines)
	s.workers.Go(p.run)
	return p
}

// limited returns a client for node that uses the probe interval as its network timeout.
func (s *session) limited(node *redis.Client) *redis.Client {
	if node == s.node {
		return node // the supervisor has already set this timeout
	}
	return node.WithTimeout(s.bus.options.probeInterval)
}

// openLocks connects to all servers that store locks. Otherwise the first frame of a queue would
// have to wait for a connection, and the timeout of the call might pass in the meantime. A server
// that cannot be reached is dialed again when a lock on it is needed.
func (s *session) openLocks() {
	defer close(s.locksReady)
	ctx, cancel := context.WithTimeout(s.ctx, s.bus.options.connectTimeout)
	defer cancel()
	var dials sync.WaitGroup
	for nodeKey, node := range s.bus.topology.lockNodes(ctx, s.node) {
		dials.Go(func() {
			if socket, err := dialSocket(ctx, s.limited(node), s.bus.credentials); err == nil {
				s.addLockPipeline(nodeKey, node, socket)
			}
		})
	}
	dials.Wait()
}

// requestLocks makes reconcileLoop open the connections for locks. It does not wait for them.
func (s *session) requestLocks() {
	select {
	case s.locksWanted <- struct{}{}:
	default:
	}
}

// waitForLocks waits until the connections for locks are open. It returns early with an error if
// ctx or the session ends.
func (s *session) waitForLocks(ctx context.Context) error {
	s.requestLocks()
	select {
	case <-s.locksReady:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return s.err()
	}
}
