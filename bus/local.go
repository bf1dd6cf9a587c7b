package bus

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

// DefaultMaxFrameSize is the largest frame, in bytes, that the in-process bus takes unless told otherwise.
const DefaultMaxFrameSize = 64 << 20

// Local is the in-process bus. It delivers each frame on the publisher's goroutine before Publish returns,
// knows exactly how many subscriptions got it, and starts no goroutines.
type Local struct {
	maxFrameSize int
	done         chan struct{}

	mu       sync.RWMutex
	closed   bool
	channels map[string]*localChannel // by Channel.Name; an entry has at least one member
}

var _ Bus = (*Local)(nil)

// LocalOption configures [NewLocal].
type LocalOption func(*Local)

// WithMaxFrameSize sets the largest frame, in bytes, that the bus takes. The default is
// [DefaultMaxFrameSize]; 0 or less means no limit.
func WithMaxFrameSize(bytes int) LocalOption {
	return func(b *Local) { b.maxFrameSize = bytes }
}

// NewLocal returns an in-process bus: those who share it reach each other, and nobody else.
func NewLocal(opts ...LocalOption) *Local {
	b := &Local{
		maxFrameSize: DefaultMaxFrameSize,
		done:         make(chan struct{}),
		channels:     map[string]*localChannel{},
	}
	for _, opt := range opts {
		opt(b)
	}
	return b
}

// Publish delivers frame to the subscribers of channel and then tells report how many there were.
func (b *Local) Publish(ctx context.Context, channel Channel, frame []byte, report Report) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.maxFrameSize > 0 && len(frame) > b.maxFrameSize {
		return errors.NewErrorf(errors.ResourceExhausted, "%w: %d bytes on channel %s, the limit is %d",
			ErrFrameTooLarge, len(frame), channel, b.maxFrameSize)
	}
	receivers, err := b.deliver(channel.Name, frame)
	if err == nil && report != nil {
		report.Published(receivers, nil)
	}
	return err
}

// deliver returns how many members got the frame. Where it finds only members that are leaving it looks again:
// others may have joined before those left.
func (b *Local) deliver(channel string, frame []byte) (receivers int, err error) {
	var tried *localChannel
	for {
		b.mu.RLock()
		members, closed := b.channels[channel], b.closed
		b.mu.RUnlock()
		if closed && receivers == 0 {
			return 0, ErrClosed
		}
		if members == nil || members == tried {
			return receivers, nil
		}
		if receivers == 0 {
			receivers = members.deliverPlain(frame)
		}
		if members.deliverQueue(frame) {
			return receivers + 1, nil
		}
		if receivers > 0 && len(members.queue) == 0 {
			return receivers, nil
		}
		tried = members
	}
}

// Subscribe makes deliver a member of channel.
func (b *Local) Subscribe(ctx context.Context, channel Channel, join Join, deliver Deliver) (Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	member := &localSubscription{
		bus: b, channel: channel.Name, join: join, deliver: deliver, gate: lifecycle.NewGate(),
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, ErrClosed
	}
	b.channels[member.channel] = b.channels[member.channel].with(member)
	return member, nil
}

// Close ends all subscriptions. It always returns nil.
func (b *Local) Close() error {
	b.mu.Lock()
	channels := b.channels
	b.channels = nil
	first := !b.closed
	b.closed = true
	b.mu.Unlock()

	if !first {
		<-b.done
		return nil
	}
	for _, channel := range channels {
		for _, member := range slices.Concat(channel.plain, channel.queue) {
			<-member.gate.Close()
		}
	}
	close(b.done)
	return nil
}

// Done is closed when the bus has been closed.
func (b *Local) Done() <-chan struct{} { return b.done }

// localChannel is the members of one channel. It is immutable but for turn, so that a publisher walks it
// without a lock while others join and leave.
type localChannel struct {
	plain []*localSubscription
	queue []*localSubscription
	turn  *atomic.Uint64 // counts the frames given to the queue
}

func (c *localChannel) with(member *localSubscription) *localChannel {
	next := localChannel{turn: new(atomic.Uint64)}
	if c != nil {
		next = *c
	}
	if member.join == Queue {
		next.queue = append(slices.Clone(next.queue), member)
	} else {
		next.plain = append(slices.Clone(next.plain), member)
	}
	return &next
}

// without returns nil if no member is left.
func (c *localChannel) without(member *localSubscription) *localChannel {
	isMember := func(m *localSubscription) bool { return m == member }
	next := &localChannel{
		plain: slices.DeleteFunc(slices.Clone(c.plain), isMember),
		queue: slices.DeleteFunc(slices.Clone(c.queue), isMember),
		turn:  c.turn,
	}
	if len(next.plain)+len(next.queue) == 0 {
		return nil
	}
	return next
}

// deliverPlain returns how many plain members got the frame.
func (c *localChannel) deliverPlain(frame []byte) (receivers int) {
	for _, member := range c.plain {
		if member.take(frame) {
			receivers++
		}
	}
	return receivers
}

// deliverQueue reports whether a member of the queue got the frame. They take turns.
func (c *localChannel) deliverQueue(frame []byte) bool {
	if len(c.queue) == 0 {
		return false
	}
	first := int(c.turn.Add(1) % uint64(len(c.queue))) //nolint:gosec // less than an int
	for i := range c.queue {                           // a member that is just leaving passes the frame on
		if c.queue[(first+i)%len(c.queue)].take(frame) {
			return true
		}
	}
	return false
}

type localSubscription struct {
	bus     *Local
	channel string
	join    Join
	deliver Deliver
	gate    *lifecycle.Gate // inside: deliveries under way
}

// take reports false if the subscription is closed.
func (s *localSubscription) take(frame []byte) bool {
	if !s.gate.Enter() {
		return false
	}
	defer s.gate.Leave()
	s.deliver(frame)
	return true
}

// Close ends the subscription and waits for deliveries that are under way.
func (s *localSubscription) Close() {
	s.bus.remove(s)
	<-s.gate.Close()
}

func (b *Local) remove(member *localSubscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	channel := b.channels[member.channel]
	if channel == nil {
		return
	}
	if next := channel.without(member); next != nil {
		b.channels[member.channel] = next
	} else {
		delete(b.channels, member.channel)
	}
}
