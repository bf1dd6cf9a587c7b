package fanout

import "github.com/dynpsrpc/dynpsrpc/internal/lifecycle"

// Subscriber is one subscriber of a channel.
type Subscriber struct {
	queue    bool
	deliver  func(frame []byte)
	inFlight lifecycle.InFlight // inside: deliveries under way
}

// NewSubscriber returns a member that is given frames through deliver, as one of the channel's queue or for itself.
func NewSubscriber(queue bool, deliver func(frame []byte)) *Subscriber {
	return &Subscriber{queue: queue, deliver: deliver}
}

// tryDeliver reports false if the member is closed.
func (s *Subscriber) tryDeliver(frame []byte) bool {
	token := s.inFlight.Enter()
	if token == nil {
		return false
	}
	defer s.inFlight.Leave(token)
	s.deliver(frame)
	return true
}

// Close ends the member and waits for deliveries that are under way. It may be called more than once.
func (s *Subscriber) Close() { <-s.inFlight.Close() }
