package dynamic

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
)

// ClientStream is the client's side of a stream. Its methods may be called from many goroutines. A stream ends, and
// what it holds is released, when either side closes it, with the context given to OpenStream, or with the conn; so a
// client that has no more use for a stream must close it.
type ClientStream[Send, Recv proto.Message] interface {
	// Channel returns where the server's messages come. It is closed when the stream was closed. What came before
	// the other side's close can still be read, by a reader that takes a message at least once in a message's timeout.
	Channel() <-chan Recv
	// Send sends a message, of which the stream keeps nothing, and returns when the server's side has taken it over:
	// it is in the handler's channel, or on its way there behind others (but see [WithStreamWindow]). Messages arrive
	// in the order in which they are sent.
	//
	// If the stream is closed it fails with what Err returns. Otherwise the stream stays open: deadline_exceeded if
	// no acknowledgement came in time (see [WithStreamTimeout]), errors.ErrNoResponse if the bus knows that nobody
	// listens, invalid_argument for another message than the method's, resource_exhausted for one that is too large
	// for the bus, or unavailable if that is down.
	Send(message Send, opts ...StreamOption) error
	// Close closes the stream, for both sides. The other side sees cause: an [errors.Error] with its code, text and
	// details (psrpc loses those), another error as unknown, and nil as errors.ErrStreamClosed; or resource_exhausted if
	// cause is too large for the bus. If the stream was
	// closed already, Close returns what Err does; otherwise an error of the bus, from which the other side may not
	// know.
	Close(cause error) error
	// Err says why the stream was closed; nil while it is open.
	Err() error
	// Context ends when the stream is closed. It is made of the context given to OpenStream.
	Context() context.Context
	// Flush waits until all messages that were sent in a window are acknowledged. It fails if one of them was not, or
	// if ctx ends.
	Flush(ctx context.Context) error
}

// ServerStream is the server's side of a stream. Its methods may be called from many goroutines; they are those of
// [ClientStream].
type ServerStream[Send, Recv proto.Message] interface {
	// Channel returns where the client's messages come. It is closed when the stream was closed. What came before
	// the other side's close can still be read, by a reader that takes a message at least once in a message's timeout.
	Channel() <-chan Recv
	// Send sends a message, see [ClientStream].
	Send(message Send, opts ...StreamOption) error
	// Close closes the stream, see [ClientStream]. What the handler returns then has no effect.
	Close(cause error) error
	// Err says why the stream was closed; nil while it is open. It is errors.ErrStreamEOF if the server is ending.
	Err() error
	// Context ends when the stream is closed, or with the server. It carries the client's metadata, see
	// [RequestInfoFromContext].
	Context() context.Context
	// Hijack lets the stream stay open when the handler returns. Whoever goes on with it must close it.
	Hijack()
}

// Flusher is what every stream of this package is. A handler whose stream has a window asks for it with
// stream.(dynamic.Flusher).
type Flusher interface {
	// Flush waits until all messages that were sent in a window are acknowledged. It fails if one of them was not, or
	// if ctx ends.
	Flush(ctx context.Context) error
}

// typedStream is a stream with its message types, on either side.
type typedStream[Send, Recv proto.Message] struct {
	*stream

	messages chan Recv
}

func newTypedStream[Send, Recv proto.Message](s *stream) *typedStream[Send, Recv] {
	t := &typedStream[Send, Recv]{stream: s, messages: make(chan Recv, s.buffer)}
	s.consumer = t
	buffered := func() int { return len(t.messages) }
	s.buffered.Store(&buffered)
	return t
}

// Channel returns where messages come.
func (t *typedStream[Send, Recv]) Channel() <-chan Recv { return t.messages }

// Send sends a message.
func (t *typedStream[Send, Recv]) Send(message Send, opts ...StreamOption) error {
	if t.chain != nil {
		return t.chain.send(0, message, opts)
	}
	return t.send(message, opts)
}

// Close closes the stream.
func (t *typedStream[Send, Recv]) Close(cause error) error { return t.closeIntercepted(cause) }

func (t *typedStream[Send, Recv]) canDeliver() bool { return len(t.messages) < cap(t.messages) }

func (t *typedStream[Send, Recv]) deliver(message proto.Message) bool {
	select {
	case t.messages <- message.(Recv):
		return true
	case <-t.done:
		return t.deliverAfterClose(message.(Recv))
	}
}

// deliverAfterClose delivers what came before the close. A reader that takes nothing for the stream's timeout gets no more.
func (t *typedStream[Send, Recv]) deliverAfterClose(message Recv) bool {
	timer := time.NewTimer(t.timeout)
	defer timer.Stop()
	select {
	case t.messages <- message:
		return true
	case <-timer.C:
	case <-t.readerGone:
	}
	return false
}

func (t *typedStream[Send, Recv]) finish() { close(t.messages) }
