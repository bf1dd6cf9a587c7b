package wasm

import (
	"context"
	"fmt"
	"sync"

	"github.com/tetratelabs/wazero"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Name is what manifests call the loader.
const Name = "wasm"

// Loader runs plugins that are WebAssembly. It is safe for concurrent use. Make one with [NewLoader].
type Loader struct {
	options options
	cache   wazero.CompilationCache

	mu     sync.Mutex
	loaded int // codes that are not closed, those being loaded too
	closed bool
}

// NewLoader returns a loader. It fails if an option is wrong, or if the folder of [WithCacheDir] cannot be made.
func NewLoader(opts ...Option) (*Loader, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "options of the loader of WebAssembly: %w", err)
	}
	cache := wazero.NewCompilationCache()
	if o.cacheDir != "" {
		if cache, err = wazero.NewCompilationCacheWithDir(o.cacheDir); err != nil {
			return nil, fmt.Errorf("folder for compiled code: %w", err)
		}
	}
	return &Loader{options: o, cache: cache}, nil
}

// Name returns "wasm".
func (l *Loader) Name() string { return Name }

// Load compiles the code of a plugin, which takes a second or so for a Go program, starts an instance of it, and checks that
// it is of the ABI, imports nothing that it is not given, and serves the methods of source.Services: all of those that are
// calls, and no others. It fails if one of them is a stream. A method that is a subscription needs no code.
//
// When ctx ends the compiler stops before the next function. Hostile code can have a function that takes it minutes.
//
// The code never calls notify: an instance that has failed is replaced, and the plugin serves on.
func (l *Loader) Load(ctx context.Context, source *plugin.Source, _ func(error)) (plugin.Instance, error) {
	if !l.track() {
		return nil, errors.NewErrorf(errors.FailedPrecondition, "the loader of WebAssembly is closed")
	}
	code, err := l.load(ctx, source)
	if err != nil {
		l.untrack()
		return nil, err
	}
	return code, nil
}

// Close frees what the loader keeps. It fails, and does nothing, as long as code that it has loaded is not closed: close the
// hosts first. Nothing can be loaded after it.
func (l *Loader) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loaded > 0 {
		return errors.NewErrorf(errors.FailedPrecondition,
			"%d versions of WebAssembly plugins are still loaded: close their hosts first", l.loaded)
	}
	if l.closed {
		return nil
	}
	l.closed = true
	return l.cache.Close(context.Background())
}

// track counts one more code, unless the loader is closed.
func (l *Loader) track() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.loaded++
	return true
}

func (l *Loader) untrack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loaded--
}
