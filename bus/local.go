package bus

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// DefaultMaxFrameSize is the default maximum size of a frame on the in-process bus, in bytes.
const DefaultMaxFrameSize = 64 << 20

// Local is the in-process bus. Publish delivers each frame on the publisher's goroutine before it
// returns, and reports the exact number of receivers. Local starts no goroutines.
type Local struct {
	maxFrameSize int
	// logger is nil if WithLocalLogger is not used.
	logger *slog.Logger
	done   chan struct{}

	// channels maps each Channel.Name to a non-empty *fanout.Subscribers.
	channels sync.Map
	closed   atomic.Bool
	// mu must be held to modify the fields channels and closed. Both can be read without it.
	mu sync.Mutex
}

var _ Logging = (*Local)(nil)

// LocalOption configures [NewLocal].
type LocalOption func(*Local)

// WithMaxFrameSize sets the maximum size of a frame, in bytes. The default is
// [DefaultMaxFrameSize]. A zero or negative value means that the size is not limited.
func WithMaxFrameSize(bytes int) LocalOption {
	return func(b *Local) { b.maxFrameSize = bytes }
}

// NewLocal returns a new in-process bus. Servers and clients can reach each other only if they use
// the same *Local.
func NewLocal(opts ...LocalOption) *Local {
	b := &Local{
		maxFrameSize: DefaultMaxFrameSize,
		done:         make(chan struct{}),
	}
	for _, opt := range opts {
		if opt != nil {
			opt(b)
		}
	}
	return b
}

// Logger implements [Logging].
func (b *Local) Logger() *slog.Logger {
	if b.logger == nil {
		return slog.Default()
	}
	return b.logger
}

// Publish delivers frame to the subscribers of channel, and then calls report.Delivered with the
// number of receivers.
func (b *Local) Publish(ctx context.Context, channel Channel, frame []byte, report DeliveryReport) error {
	if err := nilarg.ContextErr(ctx); err != nil {
		return err
	}
	if b.maxFrameSize > 0 && len(frame) > b.maxFrameSize {
		return errors.NewErrorf(errors.ResourceExhausted, "%w: %d bytes on channel %.200s, the limit is %d",
			ErrFrameTooLarge, len(frame), channel, b.maxFrameSize)
	}
	receivers, err := b.deliver(channel.Name, frame)
	if err == nil && report != nil {
		report.Delivered(receivers, nil)
	}
	return err
}

// deliver delivers frame to the subscribers of channel and returns the number of deliveries.
//
// The set of subscribers may change during the delivery. If all queue subscribers in the old set
// were closed, or if the frame has reached no subscriber at all, deliver tries the new set. A frame
// therefore reaches a queue subscriber as long as the channel has at least one at all times.
func (b *Local) deliver(channel string, frame []byte) (receivers int, err error) {
	var previous *fanout.Subscribers
	for {
		subscribers := b.subscribers(channel)
		if b.closed.Load() && receivers == 0 {
			return 0, ErrClosed
		}
		if subscribers == nil || subscribers == previous {
			return receivers, nil
		}
		if receivers == 0 {
			receivers = subscribers.DeliverBroadcast(frame)
		}
		if subscribers.DeliverQueue(frame) {
			return receivers + 1, nil
		}
		if receivers > 0 && !subscribers.HasQueue() {
			return receivers, nil
		}
		previous = subscribers
	}
}

// subscribers returns the subscribers of channel, or nil if it has none.
func (b *Local) subscribers(channel string) *fanout.Subscribers {
	subscribers, _ := b.channels.Load(channel)
	typed, _ := subscribers.(*fanout.Subscribers)
	return typed
}

// Subscribe registers handler for the frames that are published on channel from now on. mode
// determines which of them it receives.
func (b *Local) Subscribe(ctx context.Context, channel Channel, mode Mode, handler Handler) (Subscription, error) {
	if err := nilarg.SubscribeErr(ctx, handler); err != nil {
		return nil, err
	}
	subscriber := fanout.NewSubscriber(mode == Queue, handler)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return nil, ErrClosed
	}
	b.channels.Store(channel.Name, b.subscribers(channel.Name).With(subscriber))
	return &localSubscription{bus: b, channel: channel.Name, subscriber: subscriber}, nil
}

// Close ends all subscriptions. It always returns nil.
func (b *Local) Close() error {
	b.mu.Lock()
	firstClose := b.closed.CompareAndSwap(false, true)
	b.mu.Unlock()
	if !firstClose {
		<-b.done
		return nil
	}
	for _, subscribers := range b.channels.Range {
		subscribers.(*fanout.Subscribers).Close()
	}
	// Wait for a concurrent Close of a subscription, which may still be updating channels.
	b.mu.Lock()
	b.channels.Clear()
	b.mu.Unlock()
	close(b.done)
	return nil
}

// Done returns a channel that is closed once the bus has been closed.
func (b *Local) Done() <-chan struct{} { return b.done }

// localSubscription is a subscription to a channel of a Local bus.
type localSubscription struct {
	bus        *Local
	channel    string
	subscriber *fanout.Subscriber
}

// Close ends the subscription and waits for running calls to its handler to return.
func (s *localSubscription) Close() {
	s.bus.remove(s)
	s.subscriber.Close()
}

// remove removes s from the subscribers of its channel.
func (b *Local) remove(s *localSubscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if next := b.subscribers(s.channel).Without(s.subscriber); next != nil {
		b.channels.Store(s.channel, next)
	} else {
		b.channels.Delete(s.channel)
	}
}
