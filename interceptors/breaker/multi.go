package breaker

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

type breakerMulti struct {
	dynamic.ClientMultiRPCHandler

	breakers *breakers
	info     dynamic.RPCInfo

	mu sync.Mutex
	// done gives the breaker the outcome of the call. It is nil before the breaker has allowed
	// the call and after the outcome has been reported.
	done    func(error)
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

// report gives the breaker the outcome of the call, unless it has already done so.
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
	// An error that does not come from a server concerns the call as a whole.
	if err != nil && dynamic.PeerOf(m.ClientMultiRPCHandler) == "" {
		m.setOutcome(err)
	}
	m.ClientMultiRPCHandler.Recv(response, err)
}

func (m *breakerMulti) Close() {
	m.report()
	m.ClientMultiRPCHandler.Close()
}
