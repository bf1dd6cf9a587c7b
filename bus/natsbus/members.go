package natsbus

import (
	"maps"

	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
)

// address is what one NATS subscription is for.
type address struct {
	subject string
	queue   bool
}

// keyed are the members of an address here, by routing key. Those with an empty key take frames with any. It is
// immutable.
type keyed map[string]*fanout.Subscribers

func (b *Bus) membersOf(at address) keyed {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.members[at]
}

func (b *Bus) addMember(s *subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := keyed{s.key: b.members[s.at][s.key].With(s.member)}
	for key, members := range b.members[s.at] {
		if key != s.key {
			next[key] = members
		}
	}
	b.members[s.at] = next
}

// removeMember ends a member and waits for a delivery that is under way.
func (b *Bus) removeMember(s *subscription) {
	b.mu.Lock()
	next := maps.Clone(b.members[s.at])
	if left := next[s.key].Without(s.member); left != nil {
		next[s.key] = left
	} else {
		delete(next, s.key)
	}
	if len(next) > 0 {
		b.members[s.at] = next
	} else {
		delete(b.members, s.at)
	}
	b.mu.Unlock()
	s.member.Close()
}

func (b *Bus) closeMembers() {
	b.mu.Lock()
	all := b.members
	b.members = nil
	b.mu.Unlock()
	for _, keys := range all {
		for _, members := range keys {
			members.Close()
		}
	}
}
