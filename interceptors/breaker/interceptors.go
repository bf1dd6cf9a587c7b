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
	return &brokenMulti{ClientMultiRPCHandler: next, breakers: b, info: info}
}

type brokenMulti struct {
	dynamic.ClientMultiRPCHandler

	breakers *breakers
	info     dynamic.RPCInfo

	mu      sync.Mutex
	done    func(error) // nil if there is nothing to tell
	outcome error
}

func (m *brokenMulti) Send(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
	done, err := m.breakers.allow(m.info)
	if err != nil {
		return err
	}
	m.begin(done)
	err = m.ClientMultiRPCHandler.Send(ctx, request, opts...)
	m.note(err)
	if err != nil {
		m.end()
	}
	return err
}

func (m *brokenMulti) begin(done func(error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done, m.outcome = done, errAborted
}

func (m *brokenMulti) note(outcome error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outcome = outcome
}

// end tells how the call has ended, once.
func (m *brokenMulti) end() {
	m.mu.Lock()
	done, outcome := m.done, m.outcome
	m.done = nil
	m.mu.Unlock()
	if done != nil {
		done(outcome)
	}
}

func (m *brokenMulti) Recv(response proto.Message, err error) {
	if err != nil && dynamic.PeerOf(m.ClientMultiRPCHandler) == "" { // why the whole call failed
		m.note(err)
	}
	m.ClientMultiRPCHandler.Recv(response, err)
}

func (m *brokenMulti) Close() {
	m.end()
	m.ClientMultiRPCHandler.Close()
}

func (b *breakers) stream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	breaker := b.of(info)
	if breaker.State() == gobreaker.StateOpen {
		_ = next.Close(b.refused(info)) // refuses the stream
		return next
	}
	return &brokenStream{StreamHandler: next, breaker: breaker}
}

// brokenStream counts the opening of its stream, when it is known how that ended. Until then it takes nobody's place: a
// stream may be open, and silent, for long.
type brokenStream struct {
	dynamic.StreamHandler

	breaker *breaker
	counted sync.Once
}

func (s *brokenStream) count(outcome error) {
	s.counted.Do(func() {
		if done, err := s.breaker.Allow(); err == nil {
			done(outcome)
		}
	})
}

func (s *brokenStream) Send(message proto.Message, opts ...dynamic.StreamOption) error {
	err := s.StreamHandler.Send(message, opts...)
	if err == nil {
		s.count(nil)
	}
	return err
}

func (s *brokenStream) Recv(message proto.Message) error {
	s.count(nil)
	return s.StreamHandler.Recv(message)
}

func (s *brokenStream) Close(cause error) error {
	if _, deadline, _ := dynamic.SendBounds(s.StreamHandler); deadline.IsZero() { // it is not open
		s.count(cause)
	} else {
		s.count(nil)
	}
	return s.StreamHandler.Close(cause)
}
