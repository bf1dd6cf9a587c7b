package fanout

import (
	"slices"
	"sync/atomic"
)

// Subscribers is a snapshot of the subscribers of one channel. It is immutable except for the
// round-robin counter, so publishers can iterate over it without a lock while subscriptions are
// opened and closed. A nil *Subscribers is empty.
type Subscribers struct {
	broadcast []*Subscriber
	queue     []*Subscriber
	// roundRobin selects the next queue subscriber. DeliverQueue increments it if there is more
	// than one queue subscriber. All snapshots of a channel share the counter.
	roundRobin *atomic.Uint64
}

// With returns a snapshot that also contains subscriber.
func (s *Subscribers) With(subscriber *Subscriber) *Subscribers {
	next := Subscribers{roundRobin: new(atomic.Uint64)}
	if s != nil {
		next = *s
	}
	if subscriber.queue {
		next.queue = append(slices.Clone(next.queue), subscriber)
	} else {
		next.broadcast = append(slices.Clone(next.broadcast), subscriber)
	}
	return &next
}

// Without returns a snapshot that does not contain subscriber. It returns nil if there are no other
// subscribers.
func (s *Subscribers) Without(subscriber *Subscriber) *Subscribers {
	if s == nil {
		return nil
	}
	isRemoved := func(other *Subscriber) bool { return other == subscriber }
	next := &Subscribers{
		broadcast:  slices.DeleteFunc(slices.Clone(s.broadcast), isRemoved),
		queue:      slices.DeleteFunc(slices.Clone(s.queue), isRemoved),
		roundRobin: s.roundRobin,
	}
	if len(next.broadcast)+len(next.queue) == 0 {
		return nil
	}
	return next
}

// Len returns the number of subscribers.
func (s *Subscribers) Len() int {
	if s == nil {
		return 0
	}
	return len(s.broadcast) + len(s.queue)
}

// HasQueue reports whether the channel has queue subscribers.
func (s *Subscribers) HasQueue() bool { return s != nil && len(s.queue) > 0 }

// DeliverBroadcast delivers frame to each broadcast subscriber that is not closed. It returns the
// number of subscribers to which the frame was delivered.
func (s *Subscribers) DeliverBroadcast(frame []byte) (receivers int) {
	if s == nil {
		return 0
	}
	for _, subscriber := range s.broadcast {
		if subscriber.tryDeliver(frame) {
			receivers++
		}
	}
	return receivers
}

// DeliverQueue delivers frame to one queue subscriber, chosen round-robin from those that are not
// closed. It returns false if there is no such subscriber.
func (s *Subscribers) DeliverQueue(frame []byte) bool {
	if !s.HasQueue() {
		return false
	}
	if len(s.queue) == 1 {
		// Avoid writing to roundRobin in the usual case, because all publishers share its cache
		// line.
		return s.queue[0].tryDeliver(frame)
	}
	first := int(s.roundRobin.Add(1) % uint64(len(s.queue))) //nolint:gosec // the remainder is less than len(s.queue)
	for i := range s.queue {
		if s.queue[(first+i)%len(s.queue)].tryDeliver(frame) {
			return true
		}
	}
	return false
}

// RefuseQueue tells each queue subscriber that the broker has refused to assign frame to this
// process, for example because the broker has run out of memory.
func (s *Subscribers) RefuseQueue(frame []byte) {
	if s == nil {
		return
	}
	for _, subscriber := range s.queue {
		subscriber.refuse(frame)
	}
}

// Close closes all subscribers and waits for running deliveries to finish.
func (s *Subscribers) Close() {
	if s == nil {
		return
	}
	for _, subscriber := range s.broadcast {
		subscriber.Close()
	}
	for _, subscriber := range s.queue {
		subscriber.Close()
	}
}
