package interceptors

import (
	"context"
	"log/slog"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// loggedMulti logs a multi call and counts its responses.
type loggedMulti struct {
	dynamic.ClientMultiRPCHandler

	entry *entry
	// context is the context passed to Send, or context.Background() before the first Send.
	context context.Context //nolint:containedctx

	mu sync.Mutex
	// err is the error of the call as a whole, as opposed to the error of a single server.
	err                 error
	responses, failures int
}

func (m *loggedMulti) Send(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
	m.context = ctx
	// Discard the attributes of an earlier call of Send that failed.
	m.entry.attrs = nil
	m.entry.addMessage("request", request)
	m.entry.addAttempt(ctx)
	err := m.ClientMultiRPCHandler.Send(ctx, request, opts...)
	m.setError(err)
	return err
}

func (m *loggedMulti) Recv(response proto.Message, err error) {
	server := dynamic.PeerOf(m.ClientMultiRPCHandler)
	// An error that does not come from a server concerns the call as a whole.
	if server == "" && err != nil {
		m.setError(err)
	} else {
		m.count(err)
	}
	if server != "" && (err != nil || m.entry.logging.payloads) {
		e := m.entry.logging.begin("response", "client", m.entry.info)
		e.started, e.peer = m.entry.started, server
		e.addMessage("response", response)
		e.end(m.context, err)
	}
	m.ClientMultiRPCHandler.Recv(response, err)
}

func (m *loggedMulti) setError(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func (m *loggedMulti) count(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.responses++
	} else {
		m.failures++
	}
}

func (m *loggedMulti) Close() {
	m.mu.Lock()
	responses, failures, failure := m.responses, m.failures, m.err
	m.mu.Unlock()
	m.entry.add(slog.Int("responses", responses), slog.Int("failures", failures))
	m.entry.end(m.context, failure)
	m.ClientMultiRPCHandler.Close()
}
