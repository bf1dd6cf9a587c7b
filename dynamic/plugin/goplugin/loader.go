package goplugin

import (
	"context"
	"runtime"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/guard"
)

const (
	// symbol is the name of the function that plugins must export. The function must have the type
	// servicesFunc.
	symbol = "Services"
	// startTimeout is the maximum time that the plugin's init functions and its Services function
	// may take together.
	startTimeout = 30 * time.Second
)

type servicesFunc = func() ([]plugin.Service, error)

// Loader runs Go plugins. It is safe for concurrent use by several hosts.
type Loader struct{}

var _ plugin.Loader = Loader{}

// NewLoader returns a loader. All loaders in a process share the plugins that have been loaded.
func NewLoader() Loader { return Loader{} }

// Name returns "go".
func (Loader) Name() string { return "go" }

// Load opens the shared object, unless the process has already loaded it, and then calls the
// Services function of the plugin. If this takes longer than 30 seconds or ctx ends first, Load
// returns an error. In that case, the code of the plugin keeps running in the background, because
// Go cannot stop it, and its result is discarded. While the code is stuck in an init function, the
// process cannot load any other Go plugin.
func (Loader) Load(ctx context.Context, source *plugin.Source, _ func(err error)) (plugin.Instance, error) {
	switch {
	case !supported:
		return nil, errors.NewErrorf(errors.Unimplemented,
			"the host cannot load Go plugins: build it with CGO_ENABLED=1, for Linux, macOS or FreeBSD (it was built for %s/%s)",
			runtime.GOOS, runtime.GOARCH)
	case source.Limits != (plugin.Limits{}) || len(source.Args) > 0 || len(source.Env) > 0:
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"fields limits, args and env: not supported for Go plugins, which run inside the host: remove them")
	case ctx.Err() != nil:
		return nil, errors.FromContext(ctx.Err())
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	started := make(chan startResult, 1)
	go func() { // Load may return before this goroutine ends, because the plugin may block forever
		services, err := start(source)
		started <- startResult{services, err}
	}()
	select {
	case r := <-started:
		if r.err != nil {
			return nil, r.err
		}
		return &instance{r.services}, nil
	case <-ctx.Done():
		return nil, errors.NewErrorf(errors.FromContext(ctx.Err()).Code(),
			"the plugin's init or function %s has not returned: %w: it keeps running until the host ends",
			symbol, ctx.Err())
	}
}

// startResult holds the results of start.
type startResult struct {
	services []plugin.Service
	err      error
}

// start loads the shared object and calls the plugin's Services function.
func start(source *plugin.Source) (services []plugin.Service, err error) {
	function, err := open(source)
	if err != nil {
		return nil, err
	}
	err = guard.Call("function "+symbol, func() (err error) {
		if services, err = function(); err != nil {
			return errors.NewErrorf(errors.FailedPrecondition, "function %s failed: %w", symbol, err)
		}
		return nil
	})
	return services, err
}

// instance holds the services returned by the plugin's Services function.
type instance struct{ services []plugin.Service }

// Services returns the services of the plugin.
func (i *instance) Services() []plugin.Service { return i.services }

// Close does nothing, because a Go plugin cannot be unloaded.
func (i *instance) Close(context.Context) error { return nil }
