package metrics

import (
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// measuredStream measures one side of a stream.
type measuredStream struct {
	dynamic.StreamHandler

	call *call
}

// Recv observes the size of a received message, even if an inner interceptor rejects the message.
func (s measuredStream) Recv(message proto.Message) error {
	s.call.observeSize(s.call.received, message)
	return s.StreamHandler.Recv(message)
}

// Send observes the size of a sent message.
func (s measuredStream) Send(message proto.Message, opts ...dynamic.StreamOption) error {
	err := s.StreamHandler.Send(message, opts...)
	if err == nil {
		s.call.observeSize(s.call.sent, message)
	}
	return err
}

// Close observes the end of the stream.
func (s measuredStream) Close(cause error) error {
	end := cause
	// ErrStreamClosed means that the stream was closed normally.
	if errors.Is(cause, errors.ErrStreamClosed) {
		end = nil
	}
	s.call.end(end)
	return s.StreamHandler.Close(cause)
}
