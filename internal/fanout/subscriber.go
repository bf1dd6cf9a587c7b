package fanout

import "github.com/dynpsrpc/dynpsrpc/internal/lifecycle"

// Subscriber is one subscriber of a channel.
type Subscriber struct {
	queue   bool
	deliver func(frame []byte)
	// inFlight counts the deliveries that are running, so that Close can wait for them.
	inFlight lifecycle.InFlight
}

// NewSubscriber returns a subscriber that receives frames through deliver. It belongs to the queue
// of its channel if queue is true, and is a broadcast subscriber otherwise.
func NewSubscriber(queue bool, deliver func(frame []byte)) *Subscriber {
	return &Subscriber{queue: queue, deliver: deliver}
}

// tryDeliver delivers frame. It returns false, without delivering, if the subscriber is closed.
func (s *Subscriber) tryDeliver(frame []byte) bool {
	token := s.inFlight.Enter()
	if token == nil {
		return false
	}
	defer s.inFlight.Leave(token)
	s.deliver(frame)
	return true
}

// Close stops deliveries to the subscriber and waits for those that are running. It may be called
// more than once.
func (s *Subscriber) Close() { <-s.inFlight.Close() }
