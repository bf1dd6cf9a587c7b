package bus

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Errors of a bus, to be tested for with errors.Is.
var (
	// ErrClosed is returned by methods of a bus that was closed.
	ErrClosed = errors.NewErrorf(errors.Unavailable, "bus is closed")
	// ErrFrameTooLarge is returned by Publish for a frame that exceeds the size limit of the bus.
	// Nothing was sent.
	ErrFrameTooLarge = errors.NewErrorf(errors.ResourceExhausted, "frame is too large for the bus")
)

// Unknown is the number of receivers in a [DeliveryReport] of a bus that cannot count them.
const Unknown = -1

// Channel is an address on a bus. Each kind of bus uses the fields that it needs, so that one
// Channel works on all of them.
type Channel struct {
	// Name is the address on Redis and on the in-process bus.
	Name string
	// Subject is the address on NATS, where several channels may share one subject.
	Subject string
	// Key distinguishes the channels that share a Subject. It is sent in the frame's envelope. It
	// is empty for channels that have a subject of their own.
	Key string
}

// String returns the channel's name.
func (c Channel) String() string { return c.Name }

// Mode selects how the frames of a channel are divided among its subscriptions.
type Mode uint8

const (
	// Broadcast delivers every frame to the subscription.
	Broadcast Mode = iota
	// Queue delivers each frame to one of the channel's Queue subscriptions, across all processes.
	Queue
)

// Handler receives one frame. It must not block and must not modify the frame.
type Handler func(frame []byte)

// Bus transports frames between publishers and subscribers. The package comment contains its
// contract.
type Bus interface {
	// Publish sends a frame to the subscribers of channel. It returns nil once the bus has accepted
	// the frame; the outcome is passed to report later, if report is not nil.
	//
	// Publish returns the error of ctx if ctx ends before the frame is accepted, ErrClosed,
	// ErrFrameTooLarge, or an error with code unavailable if the broker is known to be unreachable.
	// If Publish returns an error nothing was sent, and report is not used.
	Publish(ctx context.Context, channel Channel, frame []byte, report DeliveryReport) error

	// Subscribe calls deliver for each frame that is published on channel from now on. It returns
	// when the broker has confirmed the subscription. ctx bounds the wait for that confirmation,
	// not the lifetime of the subscription.
	Subscribe(ctx context.Context, channel Channel, mode Mode, deliver Handler) (Subscription, error)

	// Close ends all subscriptions, releases the resources of the bus, and waits until that is
	// done.
	Close() error

	// Done returns a channel that is closed when the bus has been closed.
	Done() <-chan struct{}
}

// Subscription is a subscription to one channel.
type Subscription interface {
	// Close ends the subscription and waits for a delivery that is running.
	Close()
}

// Multiplexed is implemented by subscriptions of a bus that counts several subscriptions to a
// channel as one receiver, for example because the broker counts connections.
type Multiplexed interface {
	Subscription
	// Subscribers returns the number of subscriptions that are currently counted as one receiver,
	// including this one. It is at least 1. It does not block, and may be called from a Handler and
	// after Close.
	Subscribers() int
}

// DeliveryReport receives the outcome of one publication.
type DeliveryReport interface {
	// Delivered reports that the frame was sent, and the number of subscriptions that received it
	// or [Unknown]. [Multiplexed] subscriptions count as one. If err is not nil the frame was lost.
	//
	// A bus may call Delivered before Publish returns, later, several times if it learns more (the
	// last call is authoritative), or never if it has nothing to report. Delivered must not block.
	Delivered(receivers int, err error)
}
