package bus

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Errors of a bus, to be tested for with errors.Is.
var (
	// ErrClosed is the error of calls on a bus that was closed.
	ErrClosed = errors.NewErrorf(errors.Unavailable, "bus is closed")
	// ErrFrameTooLarge is the error of publishing a frame that is larger than the bus takes. Nothing was sent.
	ErrFrameTooLarge = errors.NewErrorf(errors.ResourceExhausted, "frame is too large for the bus")
)

// Unknown is the number of receivers given to a [DeliveryReport] by a bus that cannot tell.
const Unknown = -1

// Channel is an address on a bus. Each kind of bus uses the parts that it needs, so that one Channel works on
// all of them.
type Channel struct {
	// Name addresses the channel on Redis and in-process.
	Name string
	// Subject addresses the channel on NATS, where several channels may share one subject.
	Subject string
	// Key tells apart the channels that share a Subject. It travels in the frame's envelope. It is empty for
	// channels that have a subject of their own.
	Key string
}

// String returns the channel's name.
func (c Channel) String() string { return c.Name }

// Mode says how a subscription shares a channel with others.
type Mode uint8

const (
	// Broadcast subscriptions each get every frame.
	Broadcast Mode = iota
	// Queue subscriptions of a channel, in all processes, share its frames: one of them gets each.
	Queue
)

// Handler takes over one frame. It must not block, and must not change the frame's bytes.
type Handler func(frame []byte)

// Bus moves frames between publishers and subscribers. The package comment says what it promises.
type Bus interface {
	// Publish sends a frame to whoever listens on channel. It returns nil once the bus has accepted the frame;
	// what became of it later goes to report, which may be nil. It fails with the context's error if ctx ended
	// before that, with ErrClosed, with ErrFrameTooLarge, or with an error whose code is unavailable if the
	// broker is known to be out of reach. If Publish fails, nothing was sent and report is not used.
	Publish(ctx context.Context, channel Channel, frame []byte, report DeliveryReport) error

	// Subscribe calls deliver for each frame on channel from now on: it returns when the broker has confirmed
	// that. ctx bounds the wait for that confirmation, not the life of the subscription.
	Subscribe(ctx context.Context, channel Channel, mode Mode, deliver Handler) (Subscription, error)

	// Close ends all subscriptions, releases what the bus holds, and waits until that is done.
	Close() error

	// Done is closed when the bus has been closed.
	Done() <-chan struct{}
}

// Subscription is one subscriber's place on a channel.
type Subscription interface {
	// Close ends the subscription and waits for a delivery that is under way.
	Close()
}

// Multiplexed is a Subscription of a bus that counts several subscriptions of a channel as one receiver, as one that counts
// connections does.
type Multiplexed interface {
	Subscription
	// Subscribers returns how many subscriptions, this one included, are counted as one at this moment: at least 1. It
	// does not block, and may be called from inside a Deliver function and after Close.
	Subscribers() int
}

// DeliveryReport is told what became of one published frame.
type DeliveryReport interface {
	// Delivered says that the frame has left, and how many subscriptions got it (or Unknown; those of [Multiplexed] count
	// as one); or, if err is not nil, that it was lost. A bus may call it before Publish returns, later, more than
	// once if it learns more (the last word counts), or never if it has nothing to tell. It must not block.
	Delivered(receivers int, err error)
}
