package fanout

import "sync/atomic"

// Subscribers is a snapshot of the subscribers of one channel. It is immutable except for the
// round-robin counter, so publishers can iterate over it without a lock while subscriptions are
// opened and closed. A nil *Subscribers is empty.
type Subscribers struct {
	broadcast, queue list
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
		next.queue = next.queue.with(subscriber)
	} else {
		next.broadcast = next.broadcast.with(subscriber)
	}
	return &next
}

// Without returns a snapshot that does not contain subscriber. It returns nil if there are no other
// subscribers.
func (s *Subscribers) Without(subscriber *Subscriber) *Subscribers {
	if s == nil {
		return nil
	}
	next := *s
	if subscriber.queue {
		next.queue = next.queue.without(subscriber)
	} else {
		next.broadcast = next.broadcast.without(subscriber)
	}
	if next.Len() == 0 {
		return nil
	}
	return &next
}

// Len returns the number of subscribers.
func (s *Subscribers) Len() int {
	if s == nil {
		return 0
	}
	return s.broadcast.count + s.queue.count
}

// HasQueue reports whether the channel has queue subscribers.
func (s *Subscribers) HasQueue() bool { return s != nil && s.queue.count > 0 }

// DeliverBroadcast delivers frame to each broadcast subscriber that is not closed. It returns the
// number of subscribers to which the frame was delivered.
func (s *Subscribers) DeliverBroadcast(frame []byte) (receivers int) {
	if s == nil {
		return 0
	}
	if s.broadcast.count == 1 {
		if s.broadcast.first.tryDeliver(frame) {
			return 1
		}
		return 0
	}
	for _, block := range s.broadcast.blocks {
		for _, subscriber := range block {
			if subscriber.tryDeliver(frame) {
				receivers++
			}
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
	if s.queue.count == 1 {
		// One subscriber is the usual case. It needs no write to roundRobin, whose cache line all
		// publishers share.
		return s.queue.first.tryDeliver(frame)
	}
	first := int(s.roundRobin.Add(1) % uint64(s.queue.count)) //nolint:gosec // the remainder is less than the count
	tryDeliver := func(subscriber *Subscriber) bool { return subscriber.tryDeliver(frame) }
	// If all subscribers from this index to the end are closed, the search continues at the
	// beginning.
	return s.queue.each(first, tryDeliver) || s.queue.each(0, tryDeliver)
}

// RefuseQueue notifies each queue subscriber that the broker has refused to assign frame to this
// process. This happens, for example, if the broker has run out of memory.
func (s *Subscribers) RefuseQueue(frame []byte) {
	if s == nil {
		return
	}
	s.queue.each(0, func(subscriber *Subscriber) bool {
		subscriber.refuse(frame)
		return false
	})
}

// Close closes all subscribers and waits for running deliveries to finish.
func (s *Subscribers) Close() {
	if s == nil {
		return
	}
	closeOne := func(subscriber *Subscriber) bool {
		subscriber.Close()
		return false
	}
	s.broadcast.each(0, closeOne)
	s.queue.each(0, closeOne)
}
