package bus

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Errors returned by the methods of a bus. Use errors.Is to check for them.
var (
	// ErrClosed is returned by the methods of a bus that has been closed.
	ErrClosed = errors.NewErrorf(errors.Unavailable, "bus is closed")
	// ErrFrameTooLarge is returned by Publish if the frame exceeds the size limit of the bus.
	// Nothing has been sent in this case.
	ErrFrameTooLarge = errors.NewErrorf(errors.ResourceExhausted, "frame is too large for the bus")
	// ErrMisrouted is passed to a [DeliveryReport] if the broker gave the frame only to processes
	// that do not serve its channel. This can happen on NATS, where several channels may share a
	// subject. Other processes may serve the channel, but they have not received the frame.
	ErrMisrouted = errors.NewErrorf(errors.Unavailable, "the broker gave the frame to processes that do not serve its channel")
)

// Unknown is the number of receivers that a bus passes to a [DeliveryReport] if it cannot count
// them.
const Unknown = -1

// Channel is an address on a bus. Each kind of bus uses only the fields it needs, so the same
// Channel works on all of them.
type Channel struct {
	// Name is the address on Redis and on the in-process bus.
	Name string
	// Subject is the address on NATS. Several channels may share a subject.
	Subject string
	// Key distinguishes channels that share a Subject. The NATS bus appends it to each frame. Key
	// is empty for a channel that does not share its subject.
	Key string
}

// String returns the channel's name.
func (c Channel) String() string { return c.Name }

// Mode determines which subscriptions of a channel receive a frame.
type Mode uint8

const (
	// Broadcast delivers every frame to the subscription.
	Broadcast Mode = iota
	// Queue delivers each frame to only one of the channel's Queue subscriptions across all
	// processes.
	Queue
)

// Handler handles a received frame. It must not block, and it must not modify the frame.
type Handler func(frame []byte)

// Bus transports frames from publishers to subscribers. The package documentation describes the
// contract that every implementation must follow.
type Bus interface {
	// Publish sends frame to the subscribers of channel. It returns nil once the bus has accepted
	// the frame. If report is not nil, it receives the outcome, possibly after Publish has
	// returned.
	//
	// Publish returns ctx.Err() if ctx ends before the frame is accepted. It returns ErrClosed if
	// the bus is closed, and ErrFrameTooLarge if the frame is too large. It returns an error with
	// code unavailable if the broker is known to be unreachable. If Publish returns an error,
	// nothing has been sent and report is not called.
	Publish(ctx context.Context, channel Channel, frame []byte, report DeliveryReport) error

	// Subscribe registers handler for the frames that are published on channel. mode determines
	// which of them it receives. Subscribe returns once the broker has confirmed the subscription.
	// ctx limits only how long Subscribe waits, not the lifetime of the subscription.
	Subscribe(ctx context.Context, channel Channel, mode Mode, handler Handler) (Subscription, error)

	// Close ends all subscriptions and releases the resources of the bus. It returns once
	// everything has been released.
	Close() error

	// Done returns a channel that is closed once the bus has been closed.
	Done() <-chan struct{}
}

// Subscription represents a subscription to one channel.
type Subscription interface {
	// Close ends the subscription and waits for running calls to its handler to return.
	Close()
}

// Multiplexed is implemented by subscriptions of a bus that counts several subscriptions to a
// channel as a single receiver. For example, Redis counts the connections that have subscriptions,
// not the subscriptions.
type Multiplexed interface {
	Subscription
	// Subscribers returns the number of subscriptions, including this one, that the bus currently
	// counts together as a single receiver. The result is always at least 1. Subscribers does not
	// block. It may be called from a Handler and after Close.
	Subscribers() int
}

// RefusalNotifier is implemented by the subscriptions of buses whose broker assigns each queue
// frame to one process. Such a broker may refuse to do so, for example because the broker's memory
// is full.
type RefusalNotifier interface {
	Subscription
	// NotifyRefused makes the bus call handler with each queue frame that the broker has refused to
	// assign to this process. Another process may still handle the frame. Like any Handler, handler
	// must neither block nor modify the frame. Frames that were refused before the call are not
	// passed to handler. Call NotifyRefused at most once.
	NotifyRefused(handler Handler)
}

// ReceiverCounter is implemented by buses that may be unable to count the receivers of a frame. A
// bus that does not implement it always counts them.
type ReceiverCounter interface {
	Bus
	// CountsReceivers reports whether the bus passes the number of receivers to each
	// [DeliveryReport]. A bus always returns the same result.
	CountsReceivers() bool
}

// Competing is implemented by buses whose broker delivers each queue frame to all processes that
// subscribe to the queue. These processes then compete for the frame, and the cost for the broker
// grows with their number. If a publisher knows the subscribers, it can avoid that cost by sending
// the frame on a channel to which only one of them subscribes.
type Competing interface {
	Bus
	// ReceiverID returns an ID of at most 256 bytes that no other bus has, not even in another
	// process. Servers announce it, so that clients know which servers share a bus. If the bus
	// counts receivers, all of its subscriptions to a channel count as a single receiver. A bus
	// always returns the same result.
	ReceiverID() string
}

// DeliveryReport receives the outcome of one call to Publish.
type DeliveryReport interface {
	// Delivered reports the outcome. receivers is the number of subscriptions that received the
	// frame, or [Unknown]. [Multiplexed] subscriptions are counted together as one. If err is not
	// nil, the frame was refused or may have been lost.
	//
	// A bus may call Delivered before or after Publish returns. It may call Delivered again when it
	// knows more about the outcome, in which case the last call is authoritative. If a bus has
	// nothing to report, it may never call Delivered. Delivered must not block.
	Delivered(receivers int, err error)
}
