package metrics

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// measuredMulti measures a multi call from the first attempt to send its request until the call is
// closed.
type measuredMulti struct {
	dynamic.ClientMultiRPCHandler

	metrics *metrics
	info    dynamic.RPCInfo

	mu sync.Mutex
	// call is nil before the first Send and after Close.
	call *call
	// err is the error of the call as a whole, as opposed to the error of a single server.
	err error
}

// Send observes the size of the request.
func (m *measuredMulti) Send(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
	c := m.begin(ctx)
	c.observeSize(c.sent, request)
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

// Recv counts a response and observes its size.
func (m *measuredMulti) Recv(response proto.Message, err error) {
	// An error that does not come from a server concerns the call as a whole.
	if err != nil && dynamic.PeerOf(m.ClientMultiRPCHandler) == "" {
		m.setError(err)
	} else {
		m.mu.Lock()
		c := m.call
		m.mu.Unlock()
		if c != nil {
			c.observeResponse(err)
			c.observeSize(c.received, response)
		}
	}
	m.ClientMultiRPCHandler.Recv(response, err)
}

// Close records the metrics of the call when it ends.
func (m *measuredMulti) Close() {
	m.end()
	m.ClientMultiRPCHandler.Close()
}

func (m *measuredMulti) begin(ctx context.Context) *call {
	m.mu.Lock()
	defer m.mu.Unlock()
	// An earlier Send may already have started the measurement.
	if m.call == nil {
		m.call = m.metrics.begin(ctx, &m.metrics.client, m.info)
	}
	return m.call
}

func (m *measuredMulti) setError(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func (m *measuredMulti) end() {
	m.mu.Lock()
	c, failure := m.call, m.err
	m.call = nil
	m.mu.Unlock()
	if c != nil {
		c.end(failure)
	}
}
