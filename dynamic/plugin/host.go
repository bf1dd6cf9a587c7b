package plugin

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/guard"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

// ErrHostClosed is the error of methods of a [Host] that was shut down or closed.
var ErrHostClosed = errors.NewErrorf(errors.Canceled, "plugin host is closed")

// Host serves plugins on a server. All methods may be called concurrently; changes of one plugin
// are made one at a time. End a host with [Host.Shutdown], which waits for running handlers, or
// with [Host.Close], which does not. Neither shuts down the server.
type Host struct {
	server  *dynamic.Server
	options hostOptions

	// calls counts the running calls of Load, Unload and Watch.
	calls *lifecycle.Gate
	// drains counts the background goroutines that drain replaced versions or unload plugins.
	drains sync.WaitGroup
	events lifecycle.EventQueue[Event]
	// stopEvents is closed after the last event was queued.
	stopEvents chan struct{}
	// eventsDone is closed when all events have been handled.
	eventsDone chan struct{}

	// runCtx ends when Shutdown begins; it bounds loads and watches. drainCtx ends when the host
	// stops waiting for handlers; it bounds unloads and drains.
	runCtx, drainCtx       context.Context //nolint:containedctx // the life of the host
	cancelRun, cancelDrain context.CancelFunc
	unloadOnce             sync.Once
	// drainErr is the error of the last unloads. unloadAll sets it.
	drainErr error

	mu sync.Mutex
	// plugins is keyed by name.
	plugins map[string]*managedPlugin
	// live contains the versions that are being loaded, served or drained.
	live map[*version]struct{}
	// unreadable contains the folders that could not be read, by path.
	unreadable map[string]Status
}

// NewHost returns a host without plugins. The errors of all options are returned together.
func NewHost(server *dynamic.Server, opts ...Option) (*Host, error) {
	options := newHostOptions(opts)
	if server == nil {
		options.problems = append(options.problems, invalid("server is nil: a plugin host needs one"))
	}
	if err := errors.Join(options.problems...); err != nil {
		return nil, err
	}
	h := &Host{
		server:     server,
		options:    options,
		calls:      lifecycle.NewGate(),
		events:     lifecycle.NewEventQueue[Event](),
		stopEvents: make(chan struct{}),
		eventsDone: make(chan struct{}),
		plugins:    map[string]*managedPlugin{},
		live:       map[*version]struct{}{},
		unreadable: map[string]Status{},
	}
	h.runCtx, h.cancelRun = context.WithCancel(context.Background())
	h.drainCtx, h.cancelDrain = context.WithCancel(context.Background())
	go func() { // Shutdown waits for this goroutine
		defer close(h.eventsDone)
		h.events.Run(h.stopEvents, h.emit)
	}()
	return h, nil
}

// emit passes an event to the event handler. It logs the handler's panics.
func (h *Host) emit(e Event) {
	if err := guard.Call("plugin event handler", func() error { h.options.onEvent(e); return nil }); err != nil {
		h.options.logger.Error("dynpsrpc: " + err.Error())
	}
}

// enter registers a call of the host and returns a context that ends with ctx or with life, which
// is runCtx or drainCtx. The caller must call leave when it is done. enter returns ErrHostClosed
// after Shutdown has begun.
func (h *Host) enter(ctx, life context.Context) (bounded context.Context, leave func(), err error) {
	if !h.calls.Enter() {
		return nil, nil, ErrHostClosed
	}
	bounded, cancel := context.WithCancel(ctx)
	detach := context.AfterFunc(life, cancel)
	return bounded, func() {
		detach()
		cancel()
		h.calls.Leave()
	}, nil
}

// Shutdown unloads all plugins. It returns when no code of a plugin is running, when Load, Unload
// and Watch have returned, and when all events have been handled. If ctx ends first, Shutdown
// cancels the contexts of running handlers and returns an error that matches the context's error
// with errors.Is. Further calls wait as well.
func (h *Host) Shutdown(ctx context.Context) error {
	h.cancelRun()
	detach := context.AfterFunc(ctx, h.cancelDrain)
	defer detach()
	<-h.calls.Close()
	h.unloadOnce.Do(h.unloadAll)
	<-h.eventsDone
	if h.drainErr == nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return errors.NewErrorf(errors.FromContext(err).Code(), "plugin host: %w: %w", err, h.drainErr)
	}
	return h.drainErr
}

// Close is [Host.Shutdown] without time for running handlers: their contexts end at once.
func (h *Host) Close() {
	h.cancelDrain()
	_ = h.Shutdown(context.Background()) // it can only report handlers that were canceled
}
