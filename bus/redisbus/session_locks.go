package redisbus

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/pipeline"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
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
	p := s.locks.get(nodeKey)
	if p == nil {
		// The cluster has a new master, or openLocks could not connect to this node.
		p = s.addLockPipeline(nodeKey, node, nil)
	}
	return p.Enqueue(s.ctx, attempt)
}

// flushLocks sends the lock attempts for all frames that have arrived. The pub/sub connection calls
// flushLocks before each Read, when its buffer is empty. As a result, the attempts for a burst of
// frames share a write, while an attempt for a single frame is sent without delay.
func (s *session) flushLocks() {
	if !s.early.active.Load() {
		// The method activate flushes the pipelines later.
		return
	}
	s.locks.flush()
}

// addLockPipeline returns the pipeline for the locks on a node. If the pipeline does not exist yet,
// addLockPipeline adds and starts it. If conn is nil, the pipeline dials when the first attempt
// is added. A goroutine of the session must call addLockPipeline, so that discard waits for the
// pipeline.
func (s *session) addLockPipeline(nodeKey string, node *redis.Client, conn *resp.Conn) *pipeline.Pipeline[lockAttempt] {
	p, added := s.locks.add(nodeKey, func() *pipeline.Pipeline[lockAttempt] {
		return pipeline.New[lockAttempt](s.pipelineConfig(s.limited(node), lockCapacity, maxLockBatch), conn)
	})
	switch {
	case added:
		s.workers.Go(p.Run)
	case conn != nil:
		// The existing pipeline has its own connection.
		_ = conn.Close()
	}
	return p
}

// limited returns a client for node that uses the probe interval as its network timeout.
func (s *session) limited(node *redis.Client) *redis.Client {
	if node == s.node {
		return node // the supervisor has already set this timeout
	}
	return node.WithTimeout(s.bus.options.ProbeInterval)
}

// openLocks connects to all servers that store locks. Otherwise the first frame of a queue would
// have to wait for a connection, and the timeout of the call might pass in the meantime. A server
// that cannot be reached is dialed again when a lock on it is needed.
func (s *session) openLocks() {
	defer close(s.locks.ready)
	ctx, cancel := context.WithTimeout(s.ctx, s.bus.options.connectTimeout)
	defer cancel()
	var dials sync.WaitGroup
	for nodeKey, node := range s.bus.topology.lockNodes(ctx, s.node) {
		dials.Go(func() {
			if conn, err := dialConn(ctx, s.limited(node), s.bus.credentials); err == nil {
				s.addLockPipeline(nodeKey, node, conn)
			}
		})
	}
	dials.Wait()
}

// requestLocks makes reconcileLoop open the connections for locks. It does not wait for them.
func (s *session) requestLocks() {
	select {
	case s.locks.wanted <- struct{}{}:
	default:
	}
}

// waitForLocks waits until openLocks has tried to open all connections for locks. It returns early
// with an error if ctx or the session ends.
func (s *session) waitForLocks(ctx context.Context) error {
	s.requestLocks()
	select {
	case <-s.locks.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return s.Err()
	}
}
