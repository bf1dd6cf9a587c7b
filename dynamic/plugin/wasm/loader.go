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

// features is WebAssembly 2.0 without reference types. Nothing limits the size of tables, so with
// reference types a module could fill the memory of the host.
var features = api.CoreFeaturesV2.SetEnabled(api.CoreFeatureReferenceTypes, false)

// Loader loads plugins that are WebAssembly modules. It is safe for concurrent use. Create one with
// [NewLoader].
type Loader struct {
	options options
	cache   wazero.CompilationCache

	mu sync.Mutex
	// loaded counts the plugin versions that are loaded or being loaded.
	loaded int
	closed bool
}

// NewLoader returns a loader. It fails with [errors.InvalidArgument] if an option is invalid, and
// fails if the directory of [WithCacheDir] cannot be created. Close the loader when its hosts have
// shut down.
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

// Name returns "wasm".
func (l *Loader) Name() string { return Name }

// Load compiles the module of a plugin, which takes about a second for a Go program, and starts one
// instance. It fails if the module has another ABI version, if it imports something that the host
// does not provide, or if its methods differ from those of source.Services: it must serve every
// call of these services and nothing else. Streams are not supported, so Load fails if a service
// has one. A subscription needs no code in the plugin.
//
// When ctx ends, the compiler stops before it compiles the next function. A hostile module can
// contain a single function that takes minutes to compile.
//
// Load ignores the function that reports a plugin's failure: a failed instance is replaced, and the
// plugin keeps serving.
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
	limits, err := l.options.resolveLimits(source.Limits)
	if err != nil {
		return nil, err
	}
	p := &loadedPlugin{
		loader:  l,
		logger:  l.options.logger.With(slog.String("plugin", source.Name), slog.String("version", source.Version)),
		limits:  limits,
		runtime: l.newRuntime(ctx),
	}
	p.pool = newPool(limits.Instances, p.newInstance)
	if err := p.prepare(ctx, source); err != nil {
		return nil, errors.Join(err, p.runtime.Close(context.WithoutCancel(ctx)))
	}
	return p, nil
}

// newRuntime returns the runtime of one plugin version. All runtimes share the loader's cache of
// compiled code. Debug information is off because reading source positions takes long, and only
// traps use them.
func (l *Loader) newRuntime(ctx context.Context) wazero.Runtime {
	return wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().
		WithCoreFeatures(features).
		WithCompilationCache(l.cache).
		WithDebugInfoEnabled(false))
}

// Close frees the compiled code. It fails with [errors.FailedPrecondition] and does nothing while a
// plugin of this loader is still loaded: shut down the hosts first. After a successful Close, Load
// fails; further calls of Close do nothing.
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

// track counts another plugin version and reports whether the loader is open.
func (l *Loader) track() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.loaded++
	return true
}

// untrack undoes one track.
func (l *Loader) untrack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loaded--
}
