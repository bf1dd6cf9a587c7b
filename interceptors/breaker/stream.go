package breaker

import (
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// breakerStream counts the opening of its stream as one call, as soon as the outcome is known: when
// the first message is sent or received, or when the stream closes. It does not reserve the
// breaker's trial call until then, because an open stream may stay silent for a long time.
type breakerStream struct {
	dynamic.StreamHandler

	breaker *breaker
	once    sync.Once
}

func (s *breakerStream) report(outcome error) {
	s.once.Do(func() {
		if done, err := s.breaker.Allow(); err == nil {
			done(outcome)
		}
	})
}

func (s *breakerStream) Send(message proto.Message, opts ...dynamic.StreamOption) error {
	err := s.StreamHandler.Send(message, opts...)
	if err == nil {
		s.report(nil)
	}
	return err
}

func (s *breakerStream) Recv(message proto.Message) error {
	s.report(nil)
	return s.StreamHandler.Recv(message)
}

func (s *breakerStream) Close(cause error) error {
	// A stream without a deadline was never opened.
	if _, deadline, _ := dynamic.SendBounds(s.StreamHandler); deadline.IsZero() {
		s.report(cause)
	} else {
		s.report(nil)
	}
	return s.StreamHandler.Close(cause)
}
