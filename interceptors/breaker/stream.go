package breaker

import (
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// breakerStream counts the opening of a stream as one call. The outcome is known when the first
// message is sent or received, or when the stream is closed. Until then, breakerStream does not
// occupy the one trial call that a half-open breaker allows. Otherwise a silent stream could occupy
// the trial call for a long time.
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
	// SendBounds returns a zero deadline if the stream never opened. In that case, cause is the
	// reason why it did not open. Otherwise the attempt to open it was successful.
	if _, deadline, _ := dynamic.SendBounds(s.StreamHandler); deadline.IsZero() {
		s.report(cause)
	} else {
		s.report(nil)
	}
	return s.StreamHandler.Close(cause)
}
