package breaker

import (
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// breakerStream counts the opening of its stream, when it is known how that ended. Until then it takes nobody's place: a
// stream may be open, and silent, for long.
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
	if _, deadline, _ := dynamic.SendBounds(s.StreamHandler); deadline.IsZero() { // it is not open
		s.report(cause)
	} else {
		s.report(nil)
	}
	return s.StreamHandler.Close(cause)
}
