package fanout

import "github.com/dynpsrpc/dynpsrpc/internal/lifecycle"

// Member is one subscriber of a channel.
type Member struct {
	queue   bool
	deliver func(frame []byte)
	gate    *lifecycle.Gate // inside: deliveries under way
}

// NewMember returns a member that is given frames through deliver, as one of the channel's queue or for itself.
func NewMember(queue bool, deliver func(frame []byte)) *Member {
	return &Member{queue: queue, deliver: deliver, gate: lifecycle.NewGate()}
}

// take reports false if the member is closed.
func (m *Member) take(frame []byte) bool {
	if !m.gate.Enter() {
		return false
	}
	defer m.gate.Leave()
	m.deliver(frame)
	return true
}

// Close ends the member and waits for deliveries that are under way. It may be called more than once.
func (m *Member) Close() { <-m.gate.Close() }
