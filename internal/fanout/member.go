package fanout

import "github.com/dynpsrpc/dynpsrpc/internal/lifecycle"

// Member is one subscriber of a channel.
type Member struct {
	queue   bool
	deliver func(frame []byte)
	gate    lifecycle.WideGate // inside: deliveries under way
}

// NewMember returns a member that is given frames through deliver, as one of the channel's queue or for itself.
func NewMember(queue bool, deliver func(frame []byte)) *Member {
	return &Member{queue: queue, deliver: deliver}
}

// take reports false if the member is closed.
func (m *Member) take(frame []byte) bool {
	place := m.gate.Enter()
	if place == nil {
		return false
	}
	defer m.gate.Leave(place)
	m.deliver(frame)
	return true
}

// Close ends the member and waits for deliveries that are under way. It may be called more than once.
func (m *Member) Close() { <-m.gate.Close() }
