package breaker

import (
	"context"
	"sync"

	"github.com/sony/gobreaker/v2"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// errAborted is counted for a call that ends with a panic.
var errAborted = errors.NewErrorf(errors.Canceled, "the call has not returned")

func (b *breakers) call(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
	return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (proto.Message, error) {
		done, err := b.allow(info)
		if err != nil {
			return nil, err
		}
		outcome := error(errAborted)
		defer func() { done(outcome) }()
		response, err := next(ctx, request, opts...)
		outcome = err
		return response, err
	}
}

func (b *breakers) multi(info dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
	return &breakerMulti{ClientMultiRPCHandler: next, breakers: b, info: info}
}

type breakerMulti struct {
	dynamic.ClientMultiRPCHandler

	breakers *breakers
	info     dynamic.RPCInfo

	mu      sync.Mutex
	done    func(error) // nil if there is nothing to tell
	outcome error
}

func (m *breakerMulti) Send(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
	done, err := m.breakers.allow(m.info)
	if err != nil {
		return err
	}
	m.begin(done)
	err = m.ClientMultiRPCHandler.Send(ctx, request, opts...)
	m.setOutcome(err)
	if err != nil {
		m.report()
	}
	return err
}

func (m *breakerMulti) begin(done func(error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done, m.outcome = done, errAborted
}

func (m *breakerMulti) setOutcome(outcome error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outcome = outcome
}

// report tells how the call has ended, once.
func (m *breakerMulti) report() {
	m.mu.Lock()
	done, outcome := m.done, m.outcome
	m.done = nil
	m.mu.Unlock()
	if done != nil {
		done(outcome)
	}
}

func (m *breakerMulti) Recv(response proto.Message, err error) {
	if err != nil && dynamic.PeerOf(m.ClientMultiRPCHandler) == "" { // why the whole call failed
		m.setOutcome(err)
	}
	m.ClientMultiRPCHandler.Recv(response, err)
}

func (m *breakerMulti) Close() {
	m.report()
	m.ClientMultiRPCHandler.Close()
}

func (b *breakers) stream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	breaker := b.breakerFor(info)
	if breaker.State() == gobreaker.StateOpen {
		_ = next.Close(b.openError(info)) // refuses the stream
		return next
	}
	return &breakerStream{StreamHandler: next, breaker: breaker}
}

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
