package plugin

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/guard"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// ErrHostClosed is returned by [Host.Load], [Host.Unload] and [Host.Watch] after the host has been
// shut down or closed.
var ErrHostClosed = errors.NewErrorf(errors.Canceled, "plugin host is closed")

// Host serves plugins on a server. All methods are safe for concurrent use. The host makes only one
// change to each plugin at a time. To stop a host, call [Host.Shutdown], which waits for running
// handlers, or [Host.Close], which does not. Neither of them shuts down the server.
type Host struct {
	server  *dynamic.Server
	options hostOptions

	// calls tracks the running calls to Load, Unload and Watch, so that Shutdown can wait for them.
	calls *lifecycle.Gate
	// drains tracks the background goroutines that drain replaced versions or unload plugins.
	// Shutdown waits for them too.
	drains sync.WaitGroup
	events lifecycle.EventQueue[Event]
	// stopEvents is closed after the last event has been queued.
	stopEvents chan struct{}
	// eventsDone is closed when all events have been handled.
	eventsDone chan struct{}

	// runCtx ends when Shutdown begins. Loading and watching plugins then stop. drainCtx ends when
	// the host no longer waits for running handlers, whose contexts are then canceled.
	runCtx, drainCtx       context.Context //nolint:containedctx // they live as long as the host
	cancelRun, cancelDrain context.CancelFunc
	unloadOnce             sync.Once
	// drainErr joins the errors of the unloads that Shutdown has started. unloadAll sets drainErr.
	drainErr error

	mu sync.Mutex
	// plugins maps plugin names to plugins.
	plugins map[string]*managedPlugin
	// live contains all versions that are being loaded, served or drained. Other plugins cannot
	// use the service names that these versions have reserved.
	live map[*version]struct{}
	// unreadable contains the status of each folder that could not be read, keyed by the folder's
	// path. List returns these along with the plugins.
	unreadable map[string]Status
}

// managedPlugin holds the state of one plugin of a host. All versions of a plugin share one
// managedPlugin.
type managedPlugin struct {
	name string
	// lock is held by the goroutine that is changing the plugin. It is a channel with capacity 1
	// rather than a mutex, because acquire must stop waiting when its context ends. The lock is
	// held while the plugin's code is loaded, which may take long.
	lock chan struct{}

	// The fields below are guarded by Host.mu.

	status Status
	// current is the version that is being served, or nil if there is none.
	current *version
	// loadErr is the reason why the newest content of the folder is not being served, or nil.
	loadErr error
	// handled and failed are the request counts of all closed versions together.
	handled, failed uint64
}

// version is one version of a plugin. It exists from the time when the host begins to load the code
// until the code has been stopped.
type version struct {
	host     *Host
	plugin   *managedPlugin
	source   *Source
	instance Instance
	services []*managedService
	// rolledBack contains the old registrations of services that a newer version took over before
	// it failed. These services were then registered again for this version. Handlers of the old
	// registrations may still be running, so shutdown waits for them.
	rolledBack []*dynamic.Registration
	counter    requestCounter
	// closed is closed when none of the version's code is running any more.
	closed chan struct{}

	// The fields below are guarded by Host.mu.

	// reservedNames contains full names and wire names that no other plugin may use.
	reservedNames []string
	// callCounter counts the requests of the version. It is nil until the version is served.
	callCounter CallCounter
	// draining reports whether the version is about to be closed. A plugin that needs one of its
	// reserved names then waits instead of failing to load.
	draining bool
	// healthErr is the last error that the code has reported, or nil if the code is healthy.
	healthErr error
}

// NewHost returns a host without any plugins. If several options are invalid, the returned error
// reports all of them.
func NewHost(server *dynamic.Server, opts ...Option) (*Host, error) {
	options := newHostOptions(server, opts)
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

// Format implements fmt.Formatter. It prints only the name of the type. The default format would
// print all fields, which other goroutines may change.
func (h *Host) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "plugin.Host") }

// emit calls the event handler with e. If the handler panics, emit logs the panic.
func (h *Host) emit(e Event) {
	if err := guard.Call("plugin event handler", func() error { h.options.onEvent(e); return nil }); err != nil {
		h.options.logger.Error("dynpsrpc: " + err.Error())
	}
}

// enter registers an operation, such as a call to Load, Unload or Watch, so that Shutdown waits for
// it. It returns a context that ends when ctx or hostCtx ends; hostCtx must be runCtx or drainCtx.
// The caller must call leave when the operation has ended. After Shutdown has begun, enter returns
// ErrHostClosed. If ctx is nil, it returns nilarg.ErrContext.
func (h *Host) enter(ctx, hostCtx context.Context) (bounded context.Context, leave func(), err error) {
	if ctx == nil {
		return nil, nil, nilarg.ErrContext
	}
	if !h.calls.Enter() {
		return nil, nil, ErrHostClosed
	}
	bounded, cancel := context.WithCancel(ctx)
	detach := context.AfterFunc(hostCtx, cancel)
	return bounded, func() {
		detach()
		cancel()
		h.calls.Leave()
	}, nil
}
