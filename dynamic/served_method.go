package dynamic

import (
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// servedMethod is the plan of one method on a server; immutable.
type servedMethod struct {
	registration *Registration
	method       *registry.Method
	handler      *boundHandler
}

func newServedMethod(r *Registration, method *registry.Method, handler *boundHandler) *servedMethod {
	return &servedMethod{registration: r, method: method, handler: handler}
}

// logPanic logs what no caller sees.
func (m *servedMethod) logPanic(what string, value any) {
	m.registration.server.options.logger.Error("psrpc: "+what+" panicked", slog.String("method", m.method.FullName()),
		slog.Any("panic", value), slog.String("stack", string(debug.Stack())))
}

// onRequest takes a frame from the bus; it never blocks.
func (m *servedMethod) onRequest(frame []byte) {
	r := m.registration
	envelope, err := wire.ParseEnvelope(frame)
	if err != nil || envelope.Kind != wire.KindRequest {
		r.server.stats.badFrames.Add(1)
		return
	}
	in := &incoming{method: m}
	if in.request, err = wire.ParseRequest(envelope.Value); err != nil {
		r.server.stats.badFrames.Add(1)
		return
	}
	in.peer = r.peers.get(in.request.ClientID)
	in.context.source = in
	in.context.parent = r.running
	if !in.schedule(time.Now()) {
		r.server.stats.expired.Add(1)
		return
	}
	if r.handling.Enter() && !r.server.workers.Go(in) {
		r.handling.Leave()
	}
}
