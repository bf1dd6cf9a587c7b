package dynamic

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
)

// ClientStream is the client's side of a stream. All methods may be called concurrently.
//
// A stream holds resources until it is closed: by either side, when the context given to OpenStream
// ends, or by closing the conn. A client that no longer needs a stream must close it.
type ClientStream[Send, Recv proto.Message] interface {
	// Channel returns the channel on which messages from the server arrive. It is closed after the
	// stream was closed. Messages that arrived before the server closed the stream can still be
	// read, as long as the reader takes one at least once per message timeout (see
	// [WithStreamTimeout]).
	Channel() <-chan Recv
	// Send sends a message and returns when the other side has acknowledged it: the message is in
	// the channel of its reader, or about to be put there. With [WithStreamWindow] Send does not
	// wait for the acknowledgement. Messages arrive in the order in which they were sent. The
	// stream keeps no reference to message after Send has returned.
	//
	// Send fails with the error that Err returns if the stream is closed. After other errors the
	// stream stays open: deadline_exceeded if no acknowledgement arrived in time (see
	// [WithStreamTimeout]); errors.ErrNoResponse if the bus reports that the other side is not
	// subscribed; invalid_argument if message is not of the method's type; resource_exhausted if it
	// is too large for the bus; unavailable if the bus is down.
	Send(message Send, opts ...StreamOption) error
	// Close closes the stream for both sides. The other side receives cause: an [errors.Error] with
	// its code, text and details (psrpc peers do not receive the details), any other error with the
	// code unknown, and nil as errors.ErrStreamClosed. If cause is too large for the bus, the other
	// side receives resource_exhausted instead.
	//
	// If the stream was closed already, Close returns what Err returns. Otherwise it returns nil,
	// or the error of the bus if the other side may not have been notified; the stream is closed on
	// this side in any case.
	Close(cause error) error
	// Err returns the reason why the stream was closed, or nil while it is open.
	Err() error
	// Context returns a context that ends when the stream is closed. It is derived from the context
	// given to OpenStream.
	Context() context.Context
	// Flush waits until all messages that were sent in a window are acknowledged. It returns an
	// error if a message was not acknowledged, or if ctx ends.
	Flush(ctx context.Context) error
}

// ServerStream is the server's side of a stream. Its methods are those of [ClientStream], with the
// differences described here. All methods may be called concurrently.
type ServerStream[Send, Recv proto.Message] interface {
	// Channel returns the channel on which messages from the client arrive, see [ClientStream].
	Channel() <-chan Recv
	// Send sends a message to the client, see [ClientStream].
	Send(message Send, opts ...StreamOption) error
	// Close closes the stream, see [ClientStream]. The handler's result has no effect afterwards.
	Close(cause error) error
	// Err returns the reason why the stream was closed, or nil while it is open. The reason is
	// errors.ErrStreamEOF if the server was shut down, or the service or topic deregistered.
	Err() error
	// Context returns a context that ends when the stream is closed, or with the server. It carries
	// the client's metadata, see [RequestInfoFromContext].
	Context() context.Context
	// Hijack keeps the stream open after the handler has returned. The new owner must close it.
	Hijack()
}

// Flusher is implemented by all streams of this package. A handler whose stream has a window uses
// it as stream.(dynamic.Flusher).
type Flusher interface {
	// Flush waits until all messages that were sent in a window are acknowledged. It returns an
	// error if a message was not acknowledged, or if ctx ends.
	Flush(ctx context.Context) error
}

// typedStream adds the message types to a stream. It implements ClientStream and ServerStream.
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

// Channel returns the channel on which messages arrive.
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

// deliverAfterClose delivers a message that arrived before the stream was closed. It returns false
// if the reader takes no message for the stream's timeout: a reader that has stopped must not keep
// the stream's goroutine running.
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
