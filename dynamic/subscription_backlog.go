package dynamic

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/queue"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// DefaultBacklogBytes is how much may wait for a subscriber that is behind, unless [WithBufferSize] says otherwise: as
	// much as nats.go keeps of a subscription.
	DefaultBacklogBytes = 64 << 20
	// frameOverhead is what a frame takes that waits, beyond its bytes.
	frameOverhead = 64
	// maxChannel is how many updates there is room for in a subscription's channel.
	maxChannel = 1024
)

// backlog is what waits for a subscriber that is behind: the frames for which its channel had no room, in their order.
// With interceptors all frames go through it.
type backlog struct {
	limit   int         // updates, with those in the channel; 0: DefaultBacklogBytes
	lagging atomic.Bool // what comes must wait here

	mu     sync.Mutex
	frames queue.FIFO[[]byte]
	bytes  int
}

// fullLocked tells whether something must be dropped before a frame of this size is kept.
func (b *backlog) fullLocked(size, inChannel int) bool {
	if b.limit > 0 {
		return inChannel+b.frames.Len() >= b.limit
	}
	return b.frames.Len() > 0 && b.bytes+size+frameOverhead > DefaultBacklogBytes
}

func (b *backlog) pushLocked(frame []byte) {
	b.frames.Push(frame)
	b.bytes += len(frame) + frameOverhead
}

func (b *backlog) popLocked() (frame []byte, ok bool) {
	if frame, ok = b.frames.Pop(); ok {
		b.bytes -= len(frame) + frameOverhead
	}
	return frame, ok
}

// pop returns the oldest frame. If there is none, the subscriber is not behind any more.
func (b *backlog) pop() (frame []byte, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if frame, ok = b.popLocked(); !ok {
		b.lagging.Store(false)
	}
	return frame, ok
}

// len returns how many frames wait.
func (b *backlog) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.frames.Len()
}

// enqueue puts a frame into the backlog, and sees to it that somebody drains that. It never blocks.
func (s *subscription[Resp]) enqueue(frame []byte) {
	b := &s.backlog
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.fullLocked(len(frame), len(s.messages)) {
		s.dropped.Add(1)
		if s.overflow != DropOldest {
			if s.overflow == EndSubscription && !s.slowConsumer.Swap(true) {
				s.endAsync(errors.ErrSlowConsumer) // end waits for deliveries
			}
			return
		}
		s.dropOldestLocked()
	}
	b.pushLocked(frame)
	if b.lagging.Load() || !s.inFlight.Enter() {
		return
	}
	b.lagging.Store(true)
	if s.plan.conn.goTracked(s.drain) != nil { // the conn has ended, and ends this as well
		s.inFlight.Leave()
	}
}

func (s *subscription[Resp]) dropOldestLocked() {
	if s.backlog.limit > 0 {
		select {
		case <-s.messages:
			return
		default:
		}
	}
	s.backlog.popLocked()
}

// drain hands on what is in the backlog, until that is empty or the subscription ends.
func (s *subscription[Resp]) drain() {
	defer s.inFlight.Leave()
	for s.context.Err() == nil {
		frame, ok := s.backlog.pop()
		if !ok {
			return
		}
		if update, ok := s.decode(frame); ok && !s.deliverDecoded(update) {
			return
		}
	}
}

// deliverDecoded brings an update through the interceptors, if there are any, and into the channel. It reports false if the
// subscription has ended, or must.
func (s *subscription[Resp]) deliverDecoded(update receivedUpdate[Resp]) bool {
	if s.handler == nil {
		return s.sendBlocking(update.message)
	}
	ctx := context.WithValue(s.context, lazyctx.InfoKey{}, update)
	panicked := s.plan.conn.panics().guard(ctx, s.plan.method, func() error {
		if err := s.handler(ctx, update.message); err != nil {
			s.refused.Add(1)
		}
		return nil
	})
	if panicked != nil {
		s.endAsync(panicked)
	}
	return panicked == nil
}

// sendBlocking waits until the channel has room for the update. It reports false if the subscription has ended.
func (s *subscription[Resp]) sendBlocking(message Resp) bool {
	if s.trySend(message) {
		return true
	}
	select {
	case s.messages <- message:
		return true
	case <-s.context.Done():
		s.dropped.Add(1)
		return false
	}
}

func (s *subscription[Resp]) trySend(message Resp) bool {
	select {
	case s.messages <- message:
		return true
	default:
		return false
	}
}

// sendIntercepted puts what comes out of the interceptors into the channel.
func (s *subscription[Resp]) sendIntercepted(update proto.Message) error {
	if !s.inFlight.Enter() {
		return s.endedError()
	}
	defer s.inFlight.Leave()
	update, err := s.plan.responses.Convert(update)
	if err != nil {
		return wrongMessage("update", s.plan.method, err)
	}
	if !s.sendBlocking(update.(Resp)) {
		return s.endedError()
	}
	return nil
}

func (s *subscription[Resp]) endedError() error {
	return errors.NewErrorf(errors.Canceled, "the subscription to %s has ended", s.plan.method.FullName())
}
