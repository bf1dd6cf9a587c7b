package tracing

import (
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// tracedStream is one side of a stream.
type tracedStream struct {
	dynamic.StreamHandler

	span *span
}

// Recv notes what came.
func (s tracedStream) Recv(message proto.Message) error {
	s.span.messageReceived(message, nil)
	return s.StreamHandler.Recv(message)
}

// Send notes what is sent, before that: when it has been acknowledged the stream, and the span, may have ended.
func (s tracedStream) Send(message proto.Message, opts ...dynamic.StreamOption) error {
	s.span.messageSent(message)
	return s.StreamHandler.Send(message, opts...)
}

// Close ends the span.
func (s tracedStream) Close(cause error) error {
	end := cause
	if errors.Is(cause, errors.ErrStreamClosed) { // which is how a stream ends well
		end = nil
	}
	s.span.end(end)
	return s.StreamHandler.Close(cause)
}
