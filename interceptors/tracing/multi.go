package tracing

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// tracedMulti is a multi call. Its span starts when its request is sent first.
type tracedMulti struct {
	dynamic.ClientMultiRPCHandler

	tracer *tracer
	info   dynamic.RPCInfo

	mu    sync.Mutex
	span  *span // nil before it is started
	ended bool
	err   error // why the whole call failed
}

// Send starts the span.
func (m *tracedMulti) Send(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
	ctx = m.start(ctx)
	returned := false
	defer func() {
		if !returned {
			m.setError(errors.NewErrorf(errors.Internal, "panic"))
		}
	}()
	err := m.ClientMultiRPCHandler.Send(ctx, request, opts...)
	m.setError(err)
	returned = true
	return err
}

// Recv notes a response.
func (m *tracedMulti) Recv(response proto.Message, err error) {
	server := dynamic.PeerOf(m.ClientMultiRPCHandler)
	if err != nil && server == "" { // why the whole call failed
		m.setError(err)
	} else {
		m.mu.Lock()
		s := m.span
		m.mu.Unlock()
		if s != nil {
			s.messageReceived(response, err, keyServerID.String(server))
		}
	}
	m.ClientMultiRPCHandler.Recv(response, err)
}

// Close ends the span.
func (m *tracedMulti) Close() {
	m.end()
	m.ClientMultiRPCHandler.Close()
}

// start returns a context that carries the span's.
func (m *tracedMulti) start(ctx context.Context) context.Context {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.span == nil {
		ctx, m.span = m.tracer.start(ctx, trace.SpanKindClient, m.info.Descriptor.FullName(), m.info)
	} else { // the next attempt
		ctx = trace.ContextWithSpan(ctx, m.span.Span)
	}
	return m.tracer.inject(ctx)
}

func (m *tracedMulti) setError(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func (m *tracedMulti) end() {
	m.mu.Lock()
	s, ended, failure := m.span, m.ended, m.err
	m.ended = true
	m.mu.Unlock()
	if s != nil && !ended {
		s.end(failure)
	}
}
