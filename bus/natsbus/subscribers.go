package natsbus

import (
	"maps"

	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
)

// subKey identifies a NATS subscription of the bus by its subject and by whether it belongs to the
// queue group.
type subKey struct {
	subject string
	queue   bool
}

// byRoutingKey maps routing keys to the local subscribers of one subject. The subscribers of a
// queue also receive the frames that arrive on its private subjects. Subscribers under the empty
// key can receive frames with any routing key. A map is never modified. Each change replaces it
// with a new one, so the dispatcher can read it without a lock.
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
	for routingKey, subscribers := range b.subscribers[s.subKey] {
		if routingKey != s.routingKey {
			next[routingKey] = subscribers
		}
	}
	b.subscribers[s.subKey] = next
}

// removeSubscriber removes a subscriber. Deliveries to it may still be in progress afterwards.
func (b *Bus) removeSubscriber(s *subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
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
}

// closeSubscribers removes all subscribers and waits for deliveries in progress.
func (b *Bus) closeSubscribers() {
	b.mu.Lock()
	all := b.subscribers
	b.subscribers = nil
	b.mu.Unlock()
	for _, byKey := range all {
		for _, subscribers := range byKey {
			subscribers.Close()
		}
	}
}
