package limits

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

type limitedMulti struct {
	dynamic.ClientMultiRPCHandler

	limiter *limiter
	info    dynamic.RPCInfo

	mu sync.Mutex
	// acquired is the quota that Close releases. It is nil until Send acquires it.
	acquired quota
}

func (m *limitedMulti) Send(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
	if err := m.acquire(); err != nil {
		return err
	}
	return m.ClientMultiRPCHandler.Send(ctx, request, opts...)
}

// acquire acquires the quota. Send may be called again after an error, so acquire does nothing if
// an earlier Send has acquired the quota.
func (m *limitedMulti) acquire() (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.acquired == nil {
		m.acquired, err = m.limiter.acquire(m.info.Descriptor)
	}
	return err
}

func (m *limitedMulti) Close() {
	m.mu.Lock()
	if m.acquired != nil {
		m.acquired.release()
	}
	m.mu.Unlock()
	m.ClientMultiRPCHandler.Close()
}
