package gateway

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Server returns an http.Server for handler that also accepts gRPC without TLS, which is HTTP/2
// with prior knowledge. Its timeouts keep slow clients from holding connections: 10 s for the
// headers, and 2 minutes for an idle connection. The caller sets the address and starts it.
//
// Its Shutdown waits for calls. It ends streams, subscriptions and WebSockets at once, with code
// unavailable, because many of them would not end by themselves. It does so only if the caller does
// not replace BaseContext.
func Server(handler http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	shutdown, begin := context.WithCancel(context.Background())
	base := context.WithValue(context.Background(), shutdownKey{}, shutdown)
	server := &http.Server{
		Handler: handler, Protocols: protocols,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return base },
	}
	server.RegisterOnShutdown(begin)
	return server
}

// shutdownKey is the context key of the shutdown context, which [Server] adds to the context of
// each request. The shutdown context ends when the server begins to shut down.
type shutdownKey struct{}

var errShutdown = errors.NewErrorf(errors.Unavailable, "the gateway shuts down")

// longContext returns the context of a stream, subscription or WebSocket. It ends with parent, at
// shutdown, or after the timeout if that is not 0.
func longContext(parent context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(parent)
	forget := func() bool { return true }
	if shutdown, ok := parent.Value(shutdownKey{}).(context.Context); ok {
		forget = context.AfterFunc(shutdown, func() { end(errShutdown) })
	}
	cancel := func() { end(nil); forget() }
	if timeout > 0 {
		timed, stop := context.WithTimeout(ctx, timeout)
		return timed, func() { stop(); cancel() }
	}
	return ctx, cancel
}
