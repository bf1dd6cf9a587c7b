package interceptors

import (
	"log/slog"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func (l *logging) streamOn(side string) dynamic.StreamInterceptor {
	return func(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
		n := l.begin("stream", side, info)
		if side == "server" {
			incoming, _ := dynamic.RequestInfoFromContext(dynamic.StreamContext(next))
			n.peer = incoming.ClientID
		}
		return &loggedStream{StreamHandler: next, line: n}
	}
}

// loggedStream counts messages.
type loggedStream struct {
	dynamic.StreamHandler

	line                     *line
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
	s.logMessage("received", message, nil) // before somebody else has it
	return s.StreamHandler.Recv(message)
}

func (s *loggedStream) logMessage(what string, message proto.Message, err error) {
	if !s.line.logging.payloads {
		return
	}
	n := s.line.logging.begin("message", s.line.side, s.line.info)
	n.started, n.peer = s.line.started, s.line.peer
	n.addMessage(what, message)
	n.end(dynamic.StreamContext(s.StreamHandler), err)
}

func (s *loggedStream) Close(cause error) error {
	err := s.StreamHandler.Close(cause)
	s.line.add(
		slog.Int64("sent", s.sent.Load()), slog.Int64("sent_size", s.sentBytes.Load()),
		slog.Int64("received", s.received.Load()), slog.Int64("received_size", s.receivedBytes.Load()),
	)
	s.line.end(dynamic.StreamContext(s.StreamHandler), ended(cause))
	return err
}

// ended says of a stream's cause whether it is a failure.
func ended(cause error) error {
	if errors.Is(cause, errors.ErrStreamClosed) {
		return nil
	}
	return cause
}
