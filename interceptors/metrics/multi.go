package metrics

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// multiCall measures a multi call, from the moment in which its request is sent first.
type multiCall struct {
	dynamic.ClientMultiRPCHandler

	measuring *measuring
	info      dynamic.RPCInfo

	mu      sync.Mutex
	call    *call // nil before it begins and after its end
	failure error // why the whole call failed
}

func (m *measuring) callingAll(info dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
	return &multiCall{ClientMultiRPCHandler: next, measuring: m, info: info}
}

// Send measures the request.
func (m *multiCall) Send(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
	c := m.begin(ctx)
	c.size(c.sent, request)
	returned := false
	defer func() {
		if !returned {
			m.fail(errors.NewErrorf(errors.Internal, "panic"))
		}
	}()
	err := m.ClientMultiRPCHandler.Send(ctx, request, opts...)
	m.fail(err)
	returned = true
	return err
}

// Recv measures a response.
func (m *multiCall) Recv(response proto.Message, err error) {
	if err != nil && dynamic.PeerOf(m.ClientMultiRPCHandler) == "" { // why the whole call failed
		m.fail(err)
	} else {
		m.mu.Lock()
		c := m.call
		m.mu.Unlock()
		if c != nil {
			c.response(err)
			c.size(c.received, response)
		}
	}
	m.ClientMultiRPCHandler.Recv(response, err)
}

// Close measures the end of the call.
func (m *multiCall) Close() {
	m.end()
	m.ClientMultiRPCHandler.Close()
}

func (m *multiCall) begin(ctx context.Context) *call {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.call == nil { // else it is the next attempt
		m.call = m.measuring.begin(ctx, &m.measuring.client, m.info)
	}
	return m.call
}

func (m *multiCall) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failure = err
}

func (m *multiCall) end() {
	m.mu.Lock()
	c, failure := m.call, m.failure
	m.call = nil
	m.mu.Unlock()
	if c != nil {
		c.end(failure)
	}
}
