package wasm

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Name is the name of this loader in plugin manifests.
const Name = "wasm"

// features contains the WebAssembly features that modules can use: those of version 2.0 without
// reference types. With reference types, a module could grow its tables without limit and exhaust
// the host's memory.
var features = api.CoreFeaturesV2.SetEnabled(api.CoreFeatureReferenceTypes, false)

// Loader is a [plugin.Loader] for WebAssembly modules. Use [NewLoader] to create one. A Loader is
// safe for concurrent use.
type Loader struct {
	options options
	cache   wazero.CompilationCache

	mu sync.Mutex
	// loaded is the number of plugin versions that are loaded or being loaded. Close succeeds only
	// if there are none.
	loaded int
	closed bool
}

// NewLoader returns a loader. If an option is invalid, the error has the code
// [errors.InvalidArgument]. NewLoader also returns an error if the directory set by [WithCacheDir]
// cannot be created. Close the loader after all hosts that use it have shut down.
func NewLoader(opts ...Option) (*Loader, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "options of the wasm loader: %w", err)
	}
	cache := wazero.NewCompilationCache()
	if o.cacheDir != "" {
		if cache, err = wazero.NewCompilationCacheWithDir(o.cacheDir); err != nil {
			return nil, fmt.Errorf("cannot use cache directory for compiled code: %w", err)
		}
	}
	return &Loader{options: o, cache: cache}, nil
}

// Name implements [plugin.Loader]. It returns "wasm".
func (l *Loader) Name() string { return Name }

// Load implements [plugin.Loader]. It compiles the module of a plugin and starts one instance.
// Compiling a Go program takes about a second. Load returns an error if the module was built for
// another ABI version or imports something that the host does not provide. The module must have a
// handler for each method of source.Services that is not a subscription, and no other handlers.
// Subscriptions need no code in the plugin. Streams are not supported, so Load returns an error if
// a service contains one.
//
// When ctx ends, the compiler stops before it compiles the next function. However, a malicious
// module can contain a single function that takes minutes to compile.
//
// Load ignores its last parameter and never reports the plugin as degraded, because a failed
// instance is replaced while the plugin keeps serving.
func (l *Loader) Load(ctx context.Context, source *plugin.Source, _ func(error)) (plugin.Instance, error) {
	if !l.track() {
		return nil, errors.NewErrorf(errors.FailedPrecondition, "wasm loader is closed")
	}
	loaded, err := l.load(ctx, source)
	if err != nil {
		l.untrack()
		return nil, err
	}
	return loaded, nil
}

func (l *Loader) load(ctx context.Context, source *plugin.Source) (*loadedPlugin, error) {
	p, err := l.newPlugin(source)
	if err != nil {
		return nil, err
	}
	p.runtime, p.onClose = l.newRuntime(ctx), l.untrack
	if err := p.prepare(ctx, source); err != nil {
		return nil, errors.Join(err, p.runtime.Close(context.WithoutCancel(ctx)))
	}
	return p, nil
}

// newPlugin returns a plugin that has its limits, but no runtime and no module yet.
func (l *Loader) newPlugin(source *plugin.Source) (*loadedPlugin, error) {
	limits, err := l.options.resolveLimits(source.Limits)
	if err != nil {
		return nil, err
	}
	p := &loadedPlugin{
		options: &l.options,
		logger:  l.options.logger.With(slog.String("plugin", source.Name), slog.String("version", source.Version)),
		limits:  limits,
	}
	p.pool = newPool(limits.Instances, p.newInstance)
	return p, nil
}

// newRuntime returns a runtime for one plugin version. All runtimes share the loader's cache of
// compiled code. Debug information is disabled, because reading it is slow. It would only add
// source positions to the errors of modules that trap.
func (l *Loader) newRuntime(ctx context.Context) wazero.Runtime {
	return wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().
		WithCoreFeatures(features).
		WithCompilationCache(l.cache).
		WithDebugInfoEnabled(false))
}

// Close frees the compiled code. If a plugin of this loader is still loaded, Close does nothing and
// returns an error with code [errors.FailedPrecondition]; shut down the hosts first. After Close
// has succeeded, Load returns an error and further calls to Close do nothing.
func (l *Loader) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loaded > 0 {
		return errors.NewErrorf(errors.FailedPrecondition,
			"wasm loader still has %d plugin versions loaded: shut down their hosts first", l.loaded)
	}
	if l.closed {
		return nil
	}
	l.closed = true
	return l.cache.Close(context.Background())
}

// track increments the number of loaded plugin versions and returns true. If the loader is closed,
// track only returns false.
func (l *Loader) track() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.loaded++
	return true
}

// untrack undoes one successful call to track.
func (l *Loader) untrack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loaded--
}
