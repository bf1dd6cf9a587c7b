package interceptors

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

func (l *logging) serve(
	ctx context.Context, request proto.Message, info dynamic.RPCInfo, handler dynamic.ServerRPCHandler,
) (response proto.Message, err error) {
	n := l.begin("call", "server", info)
	incoming, _ := dynamic.RequestInfoFromContext(ctx)
	n.peer = incoming.ClientID
	n.addMessage("request", request) // which is the handler's from now on
	returned := false
	defer n.endOrPanic(ctx, &returned, &err)
	response, err = handler(ctx, request)
	returned = true
	if err == nil {
		n.addMessage("response", response)
	}
	return response, err
}

func (l *logging) call(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
	return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (response proto.Message, err error) {
		n := l.begin("call", "client", info)
		n.addMessage("request", request)
		n.addAttempt(ctx)
		returned := false
		defer n.endOrPanic(ctx, &returned, &err)
		response, err = next(ctx, request, append(slices.Clip(opts), dynamic.WithPeer(&n.peer))...)
		returned = true
		if err == nil {
			n.addMessage("response", response)
		}
		return response, err
	}
}

func (n *entry) addAttempt(ctx context.Context) {
	if attempt := Attempt(ctx); attempt > 1 {
		n.add(slog.Int("attempt", attempt))
	}
}

func (l *logging) multi(info dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
	return &loggedMulti{ClientMultiRPCHandler: next, entry: l.begin("multi call", "client", info), context: context.Background()}
}

// loggedMulti counts what comes.
type loggedMulti struct {
	dynamic.ClientMultiRPCHandler

	entry   *entry
	context context.Context //nolint:containedctx // that of the call

	mu                  sync.Mutex
	err                 error // of the whole call
	responses, failures int
}

func (m *loggedMulti) Send(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
	m.context = ctx
	m.entry.attrs = nil // it may be sent again after a failure
	m.entry.addMessage("request", request)
	m.entry.addAttempt(ctx)
	err := m.ClientMultiRPCHandler.Send(ctx, request, opts...)
	m.setError(err)
	return err
}

func (m *loggedMulti) Recv(response proto.Message, err error) {
	server := dynamic.PeerOf(m.ClientMultiRPCHandler)
	if server == "" && err != nil { // no server has sent it
		m.setError(err)
	} else {
		m.count(err)
	}
	if server != "" && (err != nil || m.entry.logging.payloads) {
		n := m.entry.logging.begin("response", "client", m.entry.info)
		n.started, n.peer = m.entry.started, server
		n.addMessage("response", response)
		n.end(m.context, err)
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
