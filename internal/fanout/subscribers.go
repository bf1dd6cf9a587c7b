package fanout

import (
	"slices"
	"sync/atomic"
)

// Subscribers are those of one channel. They are immutable but for the queue's turn, so that a publisher walks them
// without a lock while others join and leave. A nil *Members has none.
type Subscribers struct {
	broadcast  []*Subscriber
	queue      []*Subscriber
	roundRobin *atomic.Uint64 // counts the frames given to the queue
}

// With returns the members and one more.
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

// Without returns the members but for one, and nil if no other is left.
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

// Len returns how many members there are.
func (s *Subscribers) Len() int {
	if s == nil {
		return 0
	}
	return len(s.broadcast) + len(s.queue)
}

// HasPlain reports whether a member wants each frame.
func (s *Subscribers) HasPlain() bool { return s != nil && len(s.broadcast) > 0 }

// HasQueue reports whether there is a queue.
func (s *Subscribers) HasQueue() bool { return s != nil && len(s.queue) > 0 }

// DeliverBroadcast gives frame to the plain members, and returns how many took it: those that are closed do not.
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

// DeliverQueue gives frame to the member of the queue whose turn it is, and reports whether one took it.
func (s *Subscribers) DeliverQueue(frame []byte) bool {
	if !s.HasQueue() {
		return false
	}
	if len(s.queue) == 1 { // as most often: then processors need not share the turn
		return s.queue[0].tryDeliver(frame)
	}
	first := int(s.roundRobin.Add(1) % uint64(len(s.queue))) //nolint:gosec // less than an int
	for i := range s.queue {                                 // a member that is just leaving passes the frame on
		if s.queue[(first+i)%len(s.queue)].tryDeliver(frame) {
			return true
		}
	}
	return false
}

// Close ends all members and waits for deliveries that are under way.
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
