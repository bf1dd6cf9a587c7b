package fanout

import (
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

// Subscriber is one subscriber of a channel.
type Subscriber struct {
	queue   bool
	deliver func(frame []byte)
	// refused is called with each queue frame that the broker has refused to assign to this
	// process. It is set by NotifyRefused and may be nil.
	refused atomic.Pointer[func(frame []byte)]
	// inFlight counts the running calls of deliver, so that Close can wait for them.
	inFlight lifecycle.InFlight
}

// NewSubscriber returns a subscriber that calls deliver for each frame. If queue is true, it is a
// queue subscriber; otherwise it is a broadcast subscriber.
func NewSubscriber(queue bool, deliver func(frame []byte)) *Subscriber {
	return &Subscriber{queue: queue, deliver: deliver}
}

// tryDeliver delivers frame. If the subscriber is closed, it returns false without delivering the
// frame.
func (s *Subscriber) tryDeliver(frame []byte) bool {
	token := s.inFlight.Enter()
	if token == nil {
		return false
	}
	defer s.inFlight.Leave(token)
	s.deliver(frame)
	return true
}

// NotifyRefused sets the function that [Subscribers.RefuseQueue] calls for this subscriber.
func (s *Subscriber) NotifyRefused(handler func(frame []byte)) { s.refused.Store(&handler) }

// refuse passes frame to the function set by NotifyRefused, unless the subscriber is closed.
func (s *Subscriber) refuse(frame []byte) {
	handler, token := s.refused.Load(), s.inFlight.Enter()
	if token == nil {
		return
	}
	defer s.inFlight.Leave(token)
	if handler != nil {
		(*handler)(frame)
	}
}

// Close stops deliveries to the subscriber and waits until running deliveries have finished. It may
// be called more than once.
func (s *Subscriber) Close() { <-s.inFlight.Close() }
