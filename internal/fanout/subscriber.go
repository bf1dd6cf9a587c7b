package fanout

import "github.com/dynpsrpc/dynpsrpc/internal/lifecycle"

// Subscriber is one subscriber of a channel.
type Subscriber struct {
	queue   bool
	deliver func(frame []byte)
	// inFlight counts the running deliveries, so that Close can wait for them.
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

// Close stops deliveries to the subscriber and waits for running ones to finish. It may be called
// more than once.
func (s *Subscriber) Close() { <-s.inFlight.Close() }
