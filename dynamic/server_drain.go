package dynamic

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// Drain stops accepting requests for all services of the server and waits for running handlers to
// return. Open streams are closed, so that their clients can open new ones on other servers. Unlike
// Shutdown, Drain can be undone: [Server.Resume] makes the server accept requests again. Services
// that were registered with [ServeWhileDrained] are not drained.
//
// While the server is drained, services and topics can be registered, replaced and closed as usual,
// but they accept no requests until Resume is called. Updates can still be published.
//
// If ctx ends before all handlers have returned, Drain returns an error that wraps ctx.Err(). The
// server then stays drained, the handlers continue, and a further call to Drain waits for them
// again. If the bus does not end a subscription within the timeout of the server (see
// [WithServerTimeout]), Drain returns an error with code deadline_exceeded. The subscription then
// ends in the background. After Shutdown or Kill, Drain returns errors.ErrServerClosed.
func (s *Server) Drain(ctx context.Context) error {
	if ctx == nil {
		return nilarg.ErrContext
	}
	return s.engine.Drain(ctx)
}

// Resume undoes Drain: when it returns nil, all services accept requests again. It does nothing if
// the server is not drained. If the bus fails or does not confirm the subscriptions in time (see
// [WithServerTimeout]), Resume returns an error and the server stays drained. After Shutdown or
// Kill, Resume returns errors.ErrServerClosed.
func (s *Server) Resume() error { return s.engine.Resume() }

// Drained reports whether [Server.Drain] has been called and [Server.Resume] has not undone it.
func (s *Server) Drained() bool { return s.engine.Drained() }

// ServeWhileDrained makes a service accept requests even while its server is drained; see
// [Server.Drain]. It is meant for services that observe or control the server itself.
func ServeWhileDrained() ServiceOption {
	return registerOption(func(o *registerOptions) { o.servesWhileDrained = true })
}
