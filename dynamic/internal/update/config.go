package update

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Config describes a subscription, and connects it with the conn to which it belongs.
type Config struct {
	Bus    bus.Bus
	Method *registry.Method
	Topic  []string
	// Channel is the channel of the bus on which the updates arrive.
	Channel bus.Channel
	// Updates is the type into which updates are decoded.
	Updates *message.Type
	// Limits limits the size of an update after decompression.
	Limits transport.Limits

	// BufferSize is the maximum number of updates that wait for the reader. If it is 0, only
	// BufferBytes limits them.
	BufferSize int
	// BufferBytes is the maximum total size, in bytes, of the updates that wait for the reader. If
	// it is 0, only BufferSize limits them. At least one of the limits must be set.
	BufferBytes int
	Overflow    Overflow

	// CloseTimeout is how long Close waits until the subscription has ended.
	CloseTimeout time.Duration
	// Drops logs updates that are dropped. All subscriptions of the conn share it. The subscription
	// counts them itself; see [Stats].
	Drops *transport.Drops

	// Handle is called with each update, one at a time and in order, on a goroutine of the
	// subscription. It may call [Subscription.Forward]. If it returns an error, the subscription
	// ends with this error. If Handle is nil, all updates are put into the channel.
	Handle func(ctx context.Context, update Update) error
	// Go runs f on a new goroutine, for which the conn waits when it is closed. If the conn is
	// closed, Go returns an error and does not run f. Go must not block.
	Go func(f func()) error
	// Track is called once, after the bus has subscribed to the channel. From then on, the conn
	// calls [Subscription.End] when it is closed. If the conn is closed already, Track returns an
	// error.
	Track func() error
	// Untrack is called when an open subscription has ended, or after Track has returned an error.
	Untrack func()
}

// Overflow determines what happens to updates that arrive while the buffer of a subscription is
// full.
type Overflow uint8

const (
	// DropOldest drops the oldest unread update to make room for the new one.
	DropOldest Overflow = iota
	// DropNewest drops the new update.
	DropNewest
	// End ends the subscription with an error that wraps errors.ErrSlowConsumer.
	End
)

// Update is an update that has arrived.
type Update struct {
	Message proto.Message
	// Metadata holds the key-value pairs that the publisher has attached. It may be nil and must
	// not be modified.
	Metadata map[string]string
}

// Stats contains the counters of a subscription. An update that is counted only in Received has
// been read, has not been forwarded, or is about to be put into the channel.
type Stats struct {
	// Received is the number of updates that have arrived from the bus.
	Received uint64
	// Dropped is the number of updates that were dropped because the buffer was full. It includes
	// updates that were still waiting for room in the channel when the subscription ended.
	Dropped uint64
	// BadFrames is the number of frames that could not be decoded or that contained a message of
	// the wrong type.
	BadFrames uint64
	// Waiting is the number of updates that have arrived but have not been read yet.
	Waiting uint64
}
