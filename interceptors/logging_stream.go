package interceptors

import (
	"log/slog"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// loggedStream logs a stream and counts its messages.
type loggedStream struct {
	dynamic.StreamHandler

	entry                    *entry
	sent, received           atomic.Int64
	sentBytes, receivedBytes atomic.Int64
}

func (s *loggedStream) Send(message proto.Message, opts ...dynamic.StreamOption) error {
	size := proto.Size(message)
	err := s.StreamHandler.Send(message, opts...)
	if err == nil {
		s.sent.Add(1)
		s.sentBytes.Add(int64(size))
	}
	s.logMessage("sent", message, err)
	return err
}

func (s *loggedStream) Recv(message proto.Message) error {
	s.received.Add(1)
	s.receivedBytes.Add(int64(proto.Size(message)))
	// Log the message before passing it to the receiver, which may modify the message.
	s.logMessage("received", message, nil)
	return s.StreamHandler.Recv(message)
}

func (s *loggedStream) logMessage(name string, message proto.Message, err error) {
	if !s.entry.logging.payloads {
		return
	}
	e := s.entry.logging.begin("message", s.entry.side, s.entry.info)
	e.started, e.peer = s.entry.started, s.entry.peer
	e.addMessage(name, message)
	e.end(dynamic.StreamContext(s.StreamHandler), err)
}

func (s *loggedStream) Close(cause error) error {
	err := s.StreamHandler.Close(cause)
	s.entry.add(
		slog.Int64("sent", s.sent.Load()), slog.Int64("sent_size", s.sentBytes.Load()),
		slog.Int64("received", s.received.Load()), slog.Int64("received_size", s.receivedBytes.Load()),
	)
	s.entry.end(dynamic.StreamContext(s.StreamHandler), streamError(cause))
	return err
}

// streamError returns nil for a stream that was closed normally, and cause otherwise.
func streamError(cause error) error {
	if errors.Is(cause, errors.ErrStreamClosed) {
		return nil
	}
	return cause
}
