package plugin

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

// ErrHostClosed means that the host was shut down or closed.
var ErrHostClosed = errors.NewErrorf(errors.Canceled, "plugin host is closed")

// Host serves plugins on a server. All methods may be called together from many goroutines; changes of one plugin are
// made one after the other. End it with [Host.Shutdown], which lets running handlers finish, or with [Host.Close],
// which does not. It does not shut down the server.
type Host struct {
	server  *dynamic.Server
	options hostOptions

	calls      *lifecycle.Gate // inside: what loads, unloads and watches
	drains     sync.WaitGroup  // the versions that were replaced, until they are closed
	events     lifecycle.EventQueue[Event]
	stopEvents chan struct{} // closed when there is no more event to come
	eventsDone chan struct{} // closed when all events have been handled

	// runCtx ends with Shutdown, and with it loads and watches. draining ends when nothing is waited for any more.
	runCtx, drainCtx       context.Context //nolint:containedctx // the life of the host
	cancelRun, cancelDrain context.CancelFunc
	unloadOnce             sync.Once
	drainErr               error // set by Shutdown

	mu         sync.Mutex
	plugins    map[string]*managedPlugin // by name
	live       map[*version]struct{}     // those being loaded, served and drained
	unreadable map[string]Status         // folders that could not be read, by path
}

// NewHost returns a host without plugins. Wrong options are reported together.
func NewHost(server *dynamic.Server, opts ...Option) (*Host, error) {
	options := newHostOptions(opts)
	if server == nil {
		options.problems = append(options.problems, invalid("a plugin host needs a server"))
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
	go func() { // Shutdown waits for it
		defer close(h.eventsDone)
		h.events.Run(h.stopEvents, h.emit)
	}()
	return h, nil
}

// emit survives a handler of events that panics.
func (h *Host) emit(e Event) {
	if err := guard("the handler of events", func() error { h.options.onEvent(e); return nil }); err != nil {
		h.options.logger.Error("dynpsrpc: " + err.Error())
	}
}

// enter bounds ctx by the life of the host, or its drains. leave must be called in the end.
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

// Unload serves a plugin no more and returns when nothing of it is running. Handlers that are still running when ctx
// ends, or the drain timeout has passed, are told to end by their contexts, and there is an error that says so; the
// plugin is unloaded nevertheless. An unknown name is an error with the code not_found.
func (h *Host) Unload(ctx context.Context, name string) error {
	ctx, leave, err := h.enter(ctx, h.drainCtx)
	if err != nil {
		return err
	}
	defer leave()
	return h.unload(ctx, name, "")
}

// unload leaves a plugin alone that is in another folder, unless folder is empty.
func (h *Host) unload(ctx context.Context, name, folder string) error {
	h.mu.Lock()
	p := h.plugins[name]
	h.mu.Unlock()
	if p == nil {
		return errors.NewErrorf(errors.NotFound, "plugin %s: there is none of that name", name)
	}
	if err := p.acquire(ctx); err != nil {
		return err
	}
	defer p.release()

	v, found := h.beginUnload(p, folder)
	if !found {
		return nil
	}
	var err error
	if v != nil {
		err = v.shutdown(ctx)
	}
	h.waitDrained(p)
	h.endUnload(p)
	if err != nil {
		return errors.NewErrorf(errorCode(err), "plugin %s: it was unloaded, but %w", name, err)
	}
	return nil
}

// beginUnload reports false if the plugin is gone, or stays since it is in another folder. v is nil if no version is
// served.
func (h *Host) beginUnload(p *managedPlugin, folder string) (v *version, found bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.plugins[p.name] != p {
		return nil, false
	}
	if folder != "" && p.status.Folder != folder {
		p.keepServingLocked()
		return nil, false
	}
	p.markDrainingLocked()
	v, p.current = p.current, nil
	return v, true
}

func (h *Host) endUnload(p *managedPlugin) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.plugins, p.name)
	if p.status.Generation > 0 {
		h.events.Put(Event{Kind: Unloaded, Plugin: p.name, Version: p.status.Version, Folder: p.status.Folder})
	}
}

// Shutdown unloads all plugins, and returns when nothing of them is running, when Load, Unload and Watch have returned,
// and when all events have been handled. When ctx ends first, the contexts of running handlers end, and Shutdown
// returns an error that satisfies errors.Is for the context's error. Further calls wait too.
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

// Close is Shutdown that gives running handlers no time.
func (h *Host) Close() {
	h.cancelDrain()
	_ = h.Shutdown(context.Background()) // its errors are those of a context that ends
}

// unloadAll ends everything that is left. Nobody else changes plugins any more.
func (h *Host) unloadAll() {
	h.mu.Lock()
	names := slices.Collect(maps.Keys(h.plugins))
	h.mu.Unlock()
	errs := make([]error, len(names))
	var unloading sync.WaitGroup
	for i, name := range names {
		unloading.Go(func() { errs[i] = h.unload(h.drainCtx, name, "") })
	}
	unloading.Wait()
	h.drains.Wait()
	h.drainErr = errors.Join(errs...)
	close(h.stopEvents)
	h.cancelDrain()
}
