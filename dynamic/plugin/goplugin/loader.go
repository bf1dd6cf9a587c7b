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
	// symbol is the name of the function that plugins export. Its type is servicesFunc.
	symbol = "Services"
	// startTimeout is the maximum time for init functions and Services together.
	startTimeout = 30 * time.Second
)

type servicesFunc = func() ([]plugin.Service, error)

// Loader runs Go plugins. Several hosts may use a loader concurrently.
type Loader struct{}

var _ plugin.Loader = Loader{}

// NewLoader returns a loader. All loaders of a process share the loaded plugins.
func NewLoader() Loader { return Loader{} }

// Name returns "go".
func (Loader) Name() string { return "go" }

// Load loads the shared object, unless the process has loaded it before, and calls its function
// Services. Load waits until ctx ends, and at most 30 s. Code that has not returned by then cannot
// be stopped: it keeps running, and what it returns is discarded. If it is still in an init
// function, the process can load no other plugin.
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
	go func() { // not waited for: the code may never return
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

// startResult has the results of start.
type startResult struct {
	services []plugin.Service
	err      error
}

// start loads the shared object and calls its function Services.
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

// instance has the result of a call of Services.
type instance struct{ services []plugin.Service }

// Services returns the services of the plugin.
func (i *instance) Services() []plugin.Service { return i.services }

// Close does nothing, because a Go plugin cannot be unloaded.
func (i *instance) Close(context.Context) error { return nil }
