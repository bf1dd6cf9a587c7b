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

// byRoutingKey maps routing keys to the local subscribers of one NATS subscription. Subscribers
// under the empty key can receive frames with any routing key. A map is never modified. Each change
// replaces it with a new one, so the dispatcher can read it without a lock.
type byRoutingKey map[string]*fanout.Subscribers

func (b *Bus) subscribersOf(key subKey) byRoutingKey {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.subscribers[key]
}

func (b *Bus) addSubscriber(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := byRoutingKey{e.routingKey: b.subscribers[e.subKey][e.routingKey].With(e.subscriber)}
	for routingKey, subscribers := range b.subscribers[e.subKey] {
		if routingKey != e.routingKey {
			next[routingKey] = subscribers
		}
	}
	b.subscribers[e.subKey] = next
}

// removeSubscriber removes a subscriber. Deliveries may still be in progress.
func (b *Bus) removeSubscriber(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := maps.Clone(b.subscribers[e.subKey])
	if remaining := next[e.routingKey].Without(e.subscriber); remaining != nil {
		next[e.routingKey] = remaining
	} else {
		delete(next, e.routingKey)
	}
	if len(next) > 0 {
		b.subscribers[e.subKey] = next
	} else {
		delete(b.subscribers, e.subKey)
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
