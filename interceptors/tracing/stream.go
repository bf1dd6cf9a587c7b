package tracing

import (
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// tracedStream traces one side of a stream.
type tracedStream struct {
	dynamic.StreamHandler

	span *span
}

// Recv adds an event for the received message.
func (s tracedStream) Recv(message proto.Message) error {
	s.span.messageReceived(message, nil)
	return s.StreamHandler.Recv(message)
}

// Send adds an event for the message. It does so before sending the message, because the stream and
// its span may already have ended when the acknowledgement arrives.
func (s tracedStream) Send(message proto.Message, opts ...dynamic.StreamOption) error {
	s.span.messageSent(message)
	return s.StreamHandler.Send(message, opts...)
}

// Close ends the span.
func (s tracedStream) Close(cause error) error {
	end := cause
	// ErrStreamClosed means that the stream was closed normally.
	if errors.Is(cause, errors.ErrStreamClosed) {
		end = nil
	}
	s.span.end(end)
	return s.StreamHandler.Close(cause)
}
