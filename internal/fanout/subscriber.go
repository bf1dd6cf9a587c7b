package fanout

import "github.com/dynpsrpc/dynpsrpc/internal/lifecycle"

// Subscriber is one subscriber of a channel.
type Subscriber struct {
	queue   bool
	deliver func(frame []byte)
	gate    lifecycle.InFlight // inside: deliveries under way
}

// NewSubscriber returns a member that is given frames through deliver, as one of the channel's queue or for itself.
func NewSubscriber(queue bool, deliver func(frame []byte)) *Subscriber {
	return &Subscriber{queue: queue, deliver: deliver}
}

// take reports false if the member is closed.
func (m *Subscriber) take(frame []byte) bool {
	place := m.gate.Enter()
	if place == nil {
		return false
	}
	defer m.gate.Leave(place)
	m.deliver(frame)
	return true
}

// Close ends the member and waits for deliveries that are under way. It may be called more than once.
func (m *Subscriber) Close() { <-m.gate.Close() }
