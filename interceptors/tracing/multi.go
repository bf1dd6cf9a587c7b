package tracing

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// tracedMulti traces a multi call. The span starts when the request is first sent.
type tracedMulti struct {
	dynamic.ClientMultiRPCHandler

	tracer *tracer
	info   dynamic.RPCInfo

	mu sync.Mutex
	// span is nil before the first Send.
	span  *span
	ended bool
	// err is the error of the call as a whole, as opposed to the error of a single server.
	err error
}

// Send starts the span on the first attempt.
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

// Recv adds an event for the response.
func (m *tracedMulti) Recv(response proto.Message, err error) {
	server := dynamic.PeerOf(m.ClientMultiRPCHandler)
	// An error that does not come from a server concerns the call as a whole.
	if err != nil && server == "" {
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

// start starts the span on the first attempt. On every attempt, it returns a context whose metadata
// carries the span context.
func (m *tracedMulti) start(ctx context.Context) context.Context {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.span == nil {
		ctx, m.span = m.tracer.start(ctx, trace.SpanKindClient, m.info.Descriptor.FullName(), m.info)
	} else {
		// An earlier attempt has started the span.
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
