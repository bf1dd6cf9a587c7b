package goplugin

import (
	"context"
	"runtime"
	"runtime/debug"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// symbol is what plugins export: a function of type servicesFunc.
const symbol = "Services"

type servicesFunc = func() ([]plugin.Service, error)

// Loader runs Go plugins. It may be used by several hosts, from many goroutines.
type Loader struct{}

var _ plugin.Loader = Loader{}

// NewLoader returns a loader. All loaders of a process share what is loaded.
func NewLoader() Loader { return Loader{} }

// Name returns "go".
func (Loader) Name() string { return "go" }

// Load loads the shared object, unless that was done before, and calls its function Services. ctx is looked at only
// before that: the code runs as long as it likes.
func (Loader) Load(ctx context.Context, source *plugin.Source, _ func(err error)) (plugin.Code, error) {
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
	services, err := open(source)
	if err != nil {
		return nil, err
	}
	var c code
	err = guard("its function "+symbol, func() (err error) {
		c.services, err = services()
		return err
	})
	if err != nil {
		return nil, errors.NewErrorf(errors.FailedPrecondition, "its function %s failed: %w", symbol, err)
	}
	return &c, nil
}

// code is what a call of Services has returned.
type code struct{ services []plugin.Service }

// Services returns what the plugin serves.
func (c *code) Services() []plugin.Service { return c.services }

// Close does nothing: a Go plugin cannot be unloaded.
func (c *code) Close(context.Context) error { return nil }

// guard makes an error of a panic in a plugin.
func guard(whose string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.NewErrorf(errors.Internal, "%s panicked: %v\n%s", whose, p, debug.Stack())
		}
	}()
	return f()
}
