package goplugin

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// symbol is what plugins export: a function of type servicesFunc.
	symbol = "Services"
	// startTimeout bounds the init of a plugin and its function together.
	startTimeout = 30 * time.Second
)

type servicesFunc = func() ([]plugin.Service, error)

// Loader runs Go plugins. It may be used by several hosts, from many goroutines.
type Loader struct{}

var _ plugin.Loader = Loader{}

// NewLoader returns a loader. All loaders of a process share what is loaded.
func NewLoader() Loader { return Loader{} }

// Name returns "go".
func (Loader) Name() string { return "go" }

// Load loads the shared object, unless that was done before, and calls its function Services. It waits until ctx ends,
// for 30 s at most. Code that has not returned by then cannot be ended: it goes on, what it returns is not served, and if
// it is still in its init, the process can load no other plugin.
func (Loader) Load(ctx context.Context, source *plugin.Source, _ func(err error)) (plugin.Instance, error) {
	switch {
	case !supported:
		return nil, errors.NewErrorf(errors.Unimplemented,
			"this program cannot load Go plugins: build it with CGO_ENABLED=1, for Linux, macOS or FreeBSD (it is for %s/%s)",
			runtime.GOOS, runtime.GOARCH)
	case source.Limits != (plugin.Limits{}) || len(source.Args) > 0 || len(source.Env) > 0:
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"fields limits, args and env: a Go plugin is a part of the host and can have none: remove them")
	case ctx.Err() != nil:
		return nil, errors.FromContext(ctx.Err())
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	started := make(chan startResult, 1)
	go func() { // nobody waits for code that never returns
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
			"its init or its function %s has not returned: %w: it goes on, for it cannot be ended without its host",
			symbol, ctx.Err())
	}
}

// startResult is what start has returned.
type startResult struct {
	services []plugin.Service
	err      error
}

// start loads the shared object and calls its function.
func start(source *plugin.Source) (services []plugin.Service, err error) {
	function, err := open(source)
	if err != nil {
		return nil, err
	}
	err = guard("its function "+symbol, func() (err error) {
		if services, err = function(); err != nil {
			return errors.NewErrorf(errors.FailedPrecondition, "its function %s failed: %w", symbol, err)
		}
		return nil
	})
	return services, err
}

// instance is what a call of Services has returned.
type instance struct{ services []plugin.Service }

// Services returns what the plugin serves.
func (c *instance) Services() []plugin.Service { return c.services }

// Close does nothing: a Go plugin cannot be unloaded.
func (c *instance) Close(context.Context) error { return nil }

// guard makes an error of a panic in a plugin.
func guard(what string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.NewErrorf(errors.Internal, "%s panicked: %v\n%s", what, p, debug.Stack())
		}
	}()
	return f()
}
