package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/stream"
)

// ClientStream is the client's side of a stream. All methods are safe for concurrent use.
//
// A stream holds resources until it is closed. Either side can close it by calling Close. It is
// also closed when the context passed to OpenStream ends or when the conn is closed. Clients must
// close streams that they no longer need.
type ClientStream[Send, Recv proto.Message] interface {
	// Channel returns the channel that delivers messages from the server. The channel is closed
	// after the stream has been closed. After the server has closed the stream, messages that
	// arrived earlier can still be read. If the reader then pauses for longer than the default
	// timeout of the stream (see [WithStreamTimeout]), the remaining messages are lost.
	Channel() <-chan Recv
	// Send sends a message and waits until the other side has acknowledged it. An acknowledged
	// message is in the reader's channel or is about to be put there. On a stream with a send
	// window (see [WithStreamWindow]), Send does not wait for the acknowledgement. Messages arrive
	// in the order in which they were sent. After Send has returned, the stream no longer uses
	// message.
	//
	// If the stream is closed, Send returns the same error as Err. After any other error, the
	// stream stays open. The code is deadline_exceeded if no acknowledgement arrived in time (see
	// [WithStreamTimeout]). It is invalid_argument if message is not of the method's type, and
	// resource_exhausted if the message is too large for the bus. If the bus is down, the code is
	// unavailable. If the bus reports that the other side is not subscribed, the error is
	// errors.ErrNoResponse.
	Send(message Send, opts ...StreamOption) error
	// Close closes the stream on both sides and sends cause to the other side. If cause is an
	// [errors.Error] or an error of psrpc, its code, text and details are sent, but psrpc peers
	// ignore the details. Any other error is sent with code unknown. A nil cause is sent as
	// errors.ErrStreamClosed. If cause is too large for the bus, resource_exhausted is sent
	// instead.
	//
	// If the stream was already closed, Close returns the same error as Err. Otherwise, it returns
	// nil, or the error of the bus if the other side may not have been notified. In all cases, the
	// stream is closed on this side.
	Close(cause error) error
	// Err returns the reason why the stream was closed, or nil while it is open.
	Err() error
	// Context returns a context that ends when the stream is closed. It is derived from the context
	// passed to OpenStream.
	Context() context.Context
	// Flush waits until all messages sent so far have been acknowledged. It returns an
	// [UnacknowledgedError] if a message was not acknowledged, and another error if ctx ends first.
	// After the stream has been closed, it returns an UnacknowledgedError about the messages that
	// had not been acknowledged by then. Flush is needed only on a stream with a send window; see
	// [WithStreamWindow].
	Flush(ctx context.Context) error
}

// ServerStream is the server's side of a stream. Its methods are like those of [ClientStream], with
// the differences described below. All methods are safe for concurrent use.
//
// ServerStream has an unexported method. A type of another package, such as a fake for the test of
// a handler, implements ServerStream by embedding a ServerStream, which may be nil.
type ServerStream[Send, Recv proto.Message] interface {
	// Channel returns the channel that delivers messages from the client; see [ClientStream].
	Channel() <-chan Recv
	// Send sends a message to the client; see [ClientStream].
	Send(message Send, opts ...StreamOption) error
	// Close closes the stream; see [ClientStream]. If the handler has called Close, the error that
	// the handler returns has no effect.
	Close(cause error) error
	// Err returns the reason why the stream was closed, or nil while it is open. It returns
	// errors.ErrStreamEOF if the server was shut down or the service or topic was deregistered.
	Err() error
	// Context returns a context that ends when the stream is closed or the server stops. It carries
	// the client's metadata; see [RequestInfoFromContext].
	Context() context.Context
	// Hijack keeps the stream open after the handler has returned. The stream must then be closed
	// by a call to Close.
	Hijack()

	// implementation makes the Go type *typedStream[Send, Recv] known to reflection. HandlersOf
	// needs it to create streams, because it finds out Send and Recv only at run time.
	implementation() *typedStream[Send, Recv]
}

// Flusher is implemented by all streams created by this package. In a handler, use a type assertion
// to get the Flusher of a stream: stream.(dynamic.Flusher).
type Flusher interface {
	// Flush waits until all messages sent so far have been acknowledged. It returns an
	// [UnacknowledgedError] if a message was not acknowledged, and another error if ctx ends first.
	// After the stream has been closed, it returns an UnacknowledgedError about the messages that
	// had not been acknowledged by then. Flush is needed only on a stream with a send window; see
	// [WithStreamWindow].
	Flush(ctx context.Context) error
}

// typedStream adds the Go types of the messages and the interceptors to a stream. It implements
// ClientStream and ServerStream.
type typedStream[Send, Recv proto.Message] struct {
	stream *stream.Stream
	// chain is nil if there are no interceptors.
	chain  *streamChain
	reader *stream.Reader[Recv]
}

func newTypedStream[Send, Recv proto.Message](s *stream.Stream, chain *streamChain) *typedStream[Send, Recv] {
	return &typedStream[Send, Recv]{s, chain, stream.NewReader[Recv](s)}
}

// implementation implements ServerStream.
func (t *typedStream[Send, Recv]) implementation() *typedStream[Send, Recv] { return t }

// Channel implements ClientStream and ServerStream.
func (t *typedStream[Send, Recv]) Channel() <-chan Recv { return t.reader.Messages() }

// Send implements ClientStream and ServerStream.
func (t *typedStream[Send, Recv]) Send(message Send, opts ...StreamOption) error {
	if t.chain != nil {
		return t.chain.send(0, message, opts)
	}
	return publicStreamError(t.stream.Send(message, newSendOptions(opts)))
}

// Close implements ClientStream and ServerStream.
func (t *typedStream[Send, Recv]) Close(cause error) error { return t.stream.CloseIntercepted(cause) }

// Err implements ClientStream and ServerStream.
func (t *typedStream[Send, Recv]) Err() error { return t.stream.Err() }

// Context implements ClientStream and ServerStream.
func (t *typedStream[Send, Recv]) Context() context.Context { return t.stream.Context() }

// Hijack implements ServerStream.
func (t *typedStream[Send, Recv]) Hijack() { t.stream.Hijack() }

// Flush implements ClientStream and Flusher.
func (t *typedStream[Send, Recv]) Flush(ctx context.Context) error {
	if ctx == nil {
		return nilContextError(t.stream.Method().FullName())
	}
	return publicStreamError(t.stream.Flush(ctx))
}
