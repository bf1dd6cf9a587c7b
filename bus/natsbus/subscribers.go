package natsbus

import (
	"maps"

	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
)

// subKey is what one NATS subscription is for.
type subKey struct {
	subject string
	queue   bool
}

// byRoutingKey are the members of an address here, by routing key. Those with an empty key take frames with any. It is
// immutable.
type byRoutingKey map[string]*fanout.Subscribers

func (b *Bus) subscribersOf(key subKey) byRoutingKey {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.subscribers[key]
}

func (b *Bus) addSubscriber(s *subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := byRoutingKey{s.routingKey: b.subscribers[s.subKey][s.routingKey].With(s.subscriber)}
	for key, members := range b.subscribers[s.subKey] {
		if key != s.routingKey {
			next[key] = members
		}
	}
	b.subscribers[s.subKey] = next
}

// removeSubscriber ends a member and waits for a delivery that is under way.
func (b *Bus) removeSubscriber(s *subscription) {
	b.mu.Lock()
	next := maps.Clone(b.subscribers[s.subKey])
	if remaining := next[s.routingKey].Without(s.subscriber); remaining != nil {
		next[s.routingKey] = remaining
	} else {
		delete(next, s.routingKey)
	}
	if len(next) > 0 {
		b.subscribers[s.subKey] = next
	} else {
		delete(b.subscribers, s.subKey)
	}
	b.mu.Unlock()
	s.subscriber.Close()
}

func (b *Bus) closeSubscribers() {
	b.mu.Lock()
	all := b.subscribers
	b.subscribers = nil
	b.mu.Unlock()
	for _, keys := range all {
		for _, members := range keys {
			members.Close()
		}
	}
}
