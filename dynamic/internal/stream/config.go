package stream

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/tap"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/clockskew"
	"github.com/dynpsrpc/dynpsrpc/internal/dedup"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Config describes one side of a stream. It must not be modified after it has been passed to [New].
type Config struct {
	// ID identifies the stream. Both sides use the same ID.
	ID     []byte
	Method *registry.Method
	// Topic contains the parts of the topic. It is empty if the method has no topics.
	Topic []string
	Bus   bus.Bus
	// Remote is the bus channel to which the other side has subscribed.
	Remote bus.Channel
	// Timeout is the time limit for a message whose [SendOptions] contain none. It also limits how
	// long frames without a message may take, and how long the stream waits for a reader after it
	// has been closed. New reduces it to transport.MaxTimeout.
	Timeout time.Duration
	// SendType is the type of the messages that this side sends, and RecvType the type of those
	// that it receives.
	SendType, RecvType message.Type
	// Buffer is the capacity of the reader's channel, and Window the size of the send window, both
	// in messages. Buffer must be positive. If Window is at most one, there is no send window.
	Buffer, Window int
	// Drops counts the dropped frames. All streams of a conn or server share it.
	Drops *transport.Drops
	// Dedup recognizes messages that the bus delivers a second time. All streams of a conn or
	// server share it.
	Dedup *dedup.Cache
	// Decompressed limits the memory that decompressed messages use. All streams of a conn or
	// server share it.
	Decompressed *transport.Budget
	// ClockOffset is the estimated offset of the other side's clock. On a server, all streams of
	// the same client share it.
	ClockOffset *clockskew.Offset
	// OnSkew is called whenever a frame shows that the other side's clock is wrong. It runs in bus
	// callbacks, so it must not block.
	OnSkew func()
	// Ordered reports whether all frames come from one peer and thus arrive in the order in which
	// they were sent. It is false on the client side of a method with MULTI routing.
	Ordered bool
	// Release removes the stream from the tables of open streams. It is called once the stream has
	// ended; see [Stream.Run] and [Stream.Discard]. It may be called more than once.
	Release func(s *Stream)

	// Owner is the endpoint that serves the stream. It is nil on a client.
	Owner Owner
	// Tap is called when the stream has been opened or closed, and for each of its messages. It is
	// nil on a client.
	Tap *tap.Tap

	// Opener receives the answer to the request that opens the stream, and OpenID is the ID of that
	// request. Opener is nil on a server.
	Opener Opener
	OpenID id.Call
}

// Owner is the part of a server's endpoint that a [Table] uses.
type Owner interface {
	// IsClosing reports whether the endpoint accepts no more streams.
	IsClosing() bool
}

// Opener waits for the answer to the request that opens a client's stream. Both methods are called
// in bus callbacks, so they must not block.
type Opener interface {
	// Opened is called for each acknowledgement of the request. With MULTI routing, every server
	// acknowledges it. keepalive is the interval that the server has announced, or 0 if it has
	// announced none.
	Opened(keepalive time.Duration)
	// Refused is called when the other side closes the stream. Calls after the first call to Opened
	// must have no effect.
	Refused(err errors.Error)
}

// Chain passes the messages and the end of a stream through interceptors. The stream calls its
// methods; sent messages pass through the chain before they reach [Stream.Send].
type Chain interface {
	// Receive passes a message through the interceptors to the reader; see [Stream.Deliver]. It
	// acknowledges the message if Deliver does not. It returns false if no more messages can be
	// delivered. Only the goroutine that runs [Stream.Run] calls it.
	Receive(received Received, decoded proto.Message) bool
	// Close calls the Close methods of the interceptors' handlers, because this side closes the
	// stream, and then closes the stream with [Stream.Close].
	Close(cause error) error
	// Finish notifies the interceptors that the stream has ended. It does not notify an interceptor
	// again that Close has already notified. When it returns, the interceptors pass no more messages
	// to the reader.
	Finish(cause error)
}

// consumer puts the messages of a stream into the reader's channel. [Reader] implements it. Its
// methods are called by the goroutine that runs [Stream.Run]. If there is a Chain, however, other
// goroutines may call deliver too. waiting may be called by any goroutine.
type consumer interface {
	// canDeliver reports whether deliver would return without waiting.
	canDeliver() bool
	// deliver waits until the message is in the reader's channel. While the stream is open, deliver
	// gives up as soon as it receives a value from the channel expired. delivered reports whether
	// the message is in the reader's channel. reads is false if messages are no longer read.
	deliver(message proto.Message, expired <-chan time.Time) (delivered, reads bool)
	// waiting returns the number of messages in the reader's channel.
	waiting() int
	// finish closes the reader's channel. It is called after the last call to deliver.
	finish()
}

// withFacts returns an error that wraps err and contains facts about the stream, including reason.
func (c *Config) withFacts(err error, reason errors.Reason) error {
	return errors.WithFacts(err, errors.CallFacts{
		Method: c.Method.FullName(), Topic: c.Topic, Phase: errors.PhaseStream, Reason: reason,
	})
}

// contextError returns the error for an operation whose context has ended.
func (c *Config) contextError(ctx context.Context) error {
	return c.withFacts(errors.FromContext(ctx.Err()), transport.ContextReason(ctx.Err()))
}
