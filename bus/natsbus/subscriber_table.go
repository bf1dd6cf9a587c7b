package natsbus

import (
	"maps"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
)

// byRoutingKey maps routing keys to the local subscribers of one subject. The subscribers of a
// queue also receive the frames that arrive on its private subjects. Subscribers under the empty
// key can receive frames with any routing key. A map is never modified. Each change replaces it
// with a new one, so the dispatcher can read it without a lock.
type byRoutingKey map[string]*fanout.Subscribers

// subscriberTable contains the subscribers in this process. All methods are safe for concurrent
// use.
type subscriberTable struct {
	// mu guards subjects. It is never held while calling a nats.go function that may block.
	mu       sync.RWMutex
	subjects map[subKey]byRoutingKey
}

// of returns the subscribers of a subject. The result may be nil.
func (t *subscriberTable) of(key subKey) byRoutingKey {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.subjects[key]
}

func (t *subscriberTable) add(key subKey, routingKey string, subscriber *fanout.Subscriber) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := byRoutingKey{routingKey: t.subjects[key][routingKey].With(subscriber)}
	for other, subscribers := range t.subjects[key] {
		if other != routingKey {
			next[other] = subscribers
		}
	}
	t.subjects[key] = next
}

// remove removes a subscriber. Deliveries to it may still be in progress afterwards.
func (t *subscriberTable) remove(key subKey, routingKey string, subscriber *fanout.Subscriber) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := maps.Clone(t.subjects[key])
	if remaining := next[routingKey].Without(subscriber); remaining != nil {
		next[routingKey] = remaining
	} else {
		delete(next, routingKey)
	}
	if len(next) > 0 {
		t.subjects[key] = next
	} else {
		delete(t.subjects, key)
	}
}

// close removes all subscribers and waits for deliveries in progress.
func (t *subscriberTable) close() {
	t.mu.Lock()
	all := t.subjects
	t.subjects = nil
	t.mu.Unlock()
	for _, byKey := range all {
		for _, subscribers := range byKey {
			subscribers.Close()
		}
	}
}
