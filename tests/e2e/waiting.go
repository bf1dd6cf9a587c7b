package e2e

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
)

// waiting provides handlers that run until their context ends or the test ends.
type waiting struct {
	released chan struct{}
	started  chan context.Context
	// finished receives the cause of each context that ended while its handler was running.
	finished chan error
}

func newWaiting() waiting {
	return waiting{make(chan struct{}), make(chan context.Context, 1000), make(chan error, 1000)}
}

func (h waiting) handle(ctx context.Context, _ *api.MyRequest) (*api.MyResponse, error) {
	return nil, h.wait(ctx)
}

func (h waiting) handleStream(stream dynamic.ServerStream[*api.MyServerMessage, *api.MyClientMessage]) error {
	return h.wait(stream.Context())
}

func (h waiting) wait(ctx context.Context) error {
	h.started <- ctx
	select {
	case <-ctx.Done():
		h.finished <- context.Cause(ctx)
	case <-h.released:
	}
	return ctx.Err()
}

// serve registers the handlers for all method kinds.
func (h waiting) serve(w *world, server *dynamic.Server) {
	w.Helper()
	w.Cleanup(func() { close(h.released) })
	handlers, streamHandlers := dynamic.Handlers{}, dynamic.Handlers{}
	for _, kind := range callKinds {
		handlers[kind], streamHandlers[kind] = dynamic.Unary(h.handle), dynamic.Stream(h.handleStream)
	}
	w.serve(server, calls, handlers)
	w.serve(server, streams, streamHandlers)
	w.serve(server, feeds, nil)
}
