package fanout

import (
	"slices"
	"sync/atomic"
)

// Subscribers are those of one channel. They are immutable but for the queue's turn, so that a publisher walks them
// without a lock while others join and leave. A nil *Members has none.
type Subscribers struct {
	plain []*Subscriber
	queue []*Subscriber
	turn  *atomic.Uint64 // counts the frames given to the queue
}

// With returns the members and one more.
func (m *Subscribers) With(member *Subscriber) *Subscribers {
	next := Subscribers{turn: new(atomic.Uint64)}
	if m != nil {
		next = *m
	}
	if member.queue {
		next.queue = append(slices.Clone(next.queue), member)
	} else {
		next.plain = append(slices.Clone(next.plain), member)
	}
	return &next
}

// Without returns the members but for one, and nil if no other is left.
func (m *Subscribers) Without(member *Subscriber) *Subscribers {
	if m == nil {
		return nil
	}
	isMember := func(other *Subscriber) bool { return other == member }
	next := &Subscribers{
		plain: slices.DeleteFunc(slices.Clone(m.plain), isMember),
		queue: slices.DeleteFunc(slices.Clone(m.queue), isMember),
		turn:  m.turn,
	}
	if len(next.plain)+len(next.queue) == 0 {
		return nil
	}
	return next
}

// Len returns how many members there are.
func (m *Subscribers) Len() int {
	if m == nil {
		return 0
	}
	return len(m.plain) + len(m.queue)
}

// HasPlain reports whether a member wants each frame.
func (m *Subscribers) HasPlain() bool { return m != nil && len(m.plain) > 0 }

// HasQueue reports whether there is a queue.
func (m *Subscribers) HasQueue() bool { return m != nil && len(m.queue) > 0 }

// DeliverBroadcast gives frame to the plain members, and returns how many took it: those that are closed do not.
func (m *Subscribers) DeliverBroadcast(frame []byte) (receivers int) {
	if m == nil {
		return 0
	}
	for _, member := range m.plain {
		if member.take(frame) {
			receivers++
		}
	}
	return receivers
}

// DeliverQueue gives frame to the member of the queue whose turn it is, and reports whether one took it.
func (m *Subscribers) DeliverQueue(frame []byte) bool {
	if !m.HasQueue() {
		return false
	}
	if len(m.queue) == 1 { // as most often: then processors need not share the turn
		return m.queue[0].take(frame)
	}
	first := int(m.turn.Add(1) % uint64(len(m.queue))) //nolint:gosec // less than an int
	for i := range m.queue {                           // a member that is just leaving passes the frame on
		if m.queue[(first+i)%len(m.queue)].take(frame) {
			return true
		}
	}
	return false
}

// Close ends all members and waits for deliveries that are under way.
func (m *Subscribers) Close() {
	if m == nil {
		return
	}
	for _, member := range m.plain {
		member.Close()
	}
	for _, member := range m.queue {
		member.Close()
	}
}
