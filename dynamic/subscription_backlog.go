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
	// DefaultBacklogBytes bounds the updates that wait for a lagging subscriber, unless
	// [WithBufferSize] sets a number of updates. It is also nats.go's limit for a subscription.
	DefaultBacklogBytes = 64 << 20
	// frameOverhead is the estimated memory of a waiting frame beyond its bytes.
	frameOverhead = 64
	// maxChannel is the maximum capacity of a subscription's channel. A channel allocates its whole
	// buffer when it is made, so updates beyond that wait in the backlog, which grows on demand.
	maxChannel = 1024
)

// backlog holds the frames that wait for a lagging subscriber, in the order of their arrival. With
// interceptors all frames pass through it. Frames are kept encoded: their memory is known exactly,
// and a frame that is dropped need not be decoded.
type backlog struct {
	// limit is the maximum number of unread updates, including those in the channel. If it is 0,
	// the limit is DefaultBacklogBytes, not including the channel.
	limit int
	// lagging is true while a goroutine drains the backlog. New frames must then be put into the
	// backlog, since they would otherwise overtake the frames in it.
	lagging atomic.Bool

	mu     sync.Mutex
	frames queue.FIFO[[]byte]
	bytes  int
}

// fullLocked reports whether a frame of this size can be added only after dropping another one.
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

// pop removes and returns the oldest frame. If there is none it returns false and clears lagging;
// the caller must then stop draining. Both happen under mu, so that an enqueue either comes before
// and is drained, or comes after and starts a new goroutine.
func (b *backlog) pop() (frame []byte, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if frame, ok = b.popLocked(); !ok {
		b.lagging.Store(false)
	}
	return frame, ok
}

// len returns the number of waiting frames.
func (b *backlog) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.frames.Len()
}

// enqueue adds a frame to the backlog and starts a goroutine that drains it unless one is running.
// If the buffer is full it applies the overflow policy. It never blocks.
func (s *subscription[Resp]) enqueue(frame []byte) {
	b := &s.backlog
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.fullLocked(len(frame), len(s.messages)) {
		s.dropped.Add(1)
		if s.overflow != DropOldest {
			if s.overflow == EndSubscription && !s.slowConsumer.Swap(true) {
				s.endAsync(errors.ErrSlowConsumer) // end would wait for this callback.
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
	if s.plan.conn.goTracked(s.drain) != nil { // The conn is closed and ends the subscription, too.
		s.inFlight.Leave()
	}
}

// dropOldestLocked drops the oldest update that the limit counts. With a limit in updates this is
// the first one in the channel, or in the backlog if the channel is empty. With a limit in bytes,
// which does not count the channel, it is the first one in the backlog.
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

// drain delivers the frames of the backlog until it is empty or the subscription ends.
// Subscription.Close waits for it through inFlight, and Conn.Close because the conn tracks the
// goroutine.
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

// deliverDecoded passes an update through the interceptors, if there are any, into the channel. It
// returns false if the subscription has ended, or ends because an interceptor panicked.
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

// sendBlocking puts an update into the channel, and waits while the channel is full. It returns
// false if the subscription ends first; the update is counted as dropped then.
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

// trySend puts an update into the channel. It returns false if the channel is full.
func (s *subscription[Resp]) trySend(message Resp) bool {
	select {
	case s.messages <- message:
		return true
	default:
		return false
	}
}

// sendIntercepted puts an update into the channel for the innermost interceptor. Interceptors may
// call it from any goroutine, also when the subscription has ended.
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
	return errors.NewErrorf(errors.Canceled, "subscription to %s has ended", s.plan.method.FullName())
}
