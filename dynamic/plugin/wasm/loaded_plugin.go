package wasm

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// loadedPlugin is a version of a plugin that has been loaded.
type loadedPlugin struct {
	loader   *Loader
	logger   *slog.Logger
	limits   plugin.Limits
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	pool     *pool
	services []plugin.Service

	handled, failed atomic.Uint64
}

// features are those of WebAssembly 2.0 without reference types: with them code could fill the memory of the host with
// tables, which nothing limits.
var features = api.CoreFeaturesV2.SetEnabled(api.CoreFeatureReferenceTypes, false)

func (l *Loader) load(ctx context.Context, source *plugin.Source) (*loadedPlugin, error) {
	limits, err := l.options.resolveLimits(source.Limits)
	if err != nil {
		return nil, err
	}
	c := &loadedPlugin{
		loader:  l,
		logger:  l.options.logger.With(slog.String("plugin", source.Name), slog.String("version", source.Version)),
		limits:  limits,
		runtime: l.newRuntime(ctx),
	}
	c.pool = newPool(limits.Instances, c.newInstance)
	if err := c.prepare(ctx, source); err != nil {
		return nil, errors.Join(err, c.runtime.Close(context.WithoutCancel(ctx)))
	}
	return c, nil
}

func (l *Loader) newRuntime(ctx context.Context) wazero.Runtime {
	return wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().
		WithCoreFeatures(features).
		WithCompilationCache(l.cache).
		WithDebugInfoEnabled(false)) // positions in sources take long to read, for few faults
}

func compileModule(ctx context.Context, wasm wazero.Runtime, content []byte) (wazero.CompiledModule, error) {
	instrumented, err := instrument(content)
	if err != nil {
		return nil, err
	}
	workers := max(2, runtime.GOMAXPROCS(0)) // one alone does not look at ctx
	compiled, err := wasm.CompileModule(experimental.WithCompilationWorkers(ctx, workers), instrumented)
	if err != nil {
		return nil, fmt.Errorf("the code is not WebAssembly that can be run here: %w", err)
	}
	return compiled, nil
}

// prepare compiles the code and starts one instance.
func (c *loadedPlugin) prepare(ctx context.Context, source *plugin.Source) error {
	if err := c.instantiateHostModules(ctx, source); err != nil {
		return err
	}
	compiled, err := compileModule(ctx, c.runtime, source.Content)
	if err != nil {
		return err
	}
	c.compiled = compiled
	if err := errors.Join(checkImports(c.runtime, compiled), checkExports(compiled, c.limits.Memory)); err != nil {
		return err
	}
	first, err := c.newInstance(ctx)
	if err != nil {
		return err
	}
	methods, err := first.describe(ctx)
	if err != nil {
		return err
	}
	c.pool.addIdle(first)
	c.services, err = c.bindServices(source.Services, methods)
	return err
}

// Services returns what the host is to serve.
func (c *loadedPlugin) Services() []plugin.Service { return c.services }

// Counts returns how many requests were handled, and how many of them ended with an error.
func (c *loadedPlugin) Counts() (handled, failed uint64) {
	return c.handled.Load(), c.failed.Load()
}

// Close frees all instances. No handler is running any more; one that comes yet is refused.
func (c *loadedPlugin) Close(ctx context.Context) error {
	c.pool.close()
	err := c.runtime.Close(context.WithoutCancel(ctx))
	c.loader.untrack()
	return err
}

// serve handles a request with one of the instances.
func (c *loadedPlugin) serve(ctx context.Context, method *registry.Method, index uint32, request []byte) ([]byte, error) {
	ctx, deadline, cancel := c.withTimeLimit(ctx)
	defer cancel()
	response, err := c.run(ctx, index, request, deadline)
	c.handled.Add(1)
	if err == nil {
		return response, nil
	}
	c.failed.Add(1)
	if failure, ok := errors.AsType[*fault](err); ok {
		c.logDiscard(ctx, method, failure)
		err = failure.callerError(method)
	}
	return nil, err
}

// withTimeLimit returns a context that ends when the limit of the plugin is over, and when that is.
func (c *loadedPlugin) withTimeLimit(ctx context.Context) (context.Context, time.Time, context.CancelFunc) {
	limit := time.Now().Add(time.Duration(c.limits.Timeout))
	if deadline, ok := ctx.Deadline(); ok && !limit.Before(deadline) {
		return ctx, deadline, func() {}
	}
	ctx, cancel := context.WithDeadline(ctx, limit)
	return ctx, limit, cancel
}

func (c *loadedPlugin) run(ctx context.Context, index uint32, request []byte, deadline time.Time) ([]byte, error) {
	in, err := c.pool.acquire(ctx)
	if err != nil {
		return nil, err
	}
	response, err := in.call(ctx, index, request, deadline)
	if _, failed := errors.AsType[*fault](err); failed {
		c.pool.discard(in)
	} else {
		c.pool.release(in)
	}
	return response, err
}

// logDiscard logs why an instance has failed.
func (c *loadedPlugin) logDiscard(ctx context.Context, method *registry.Method, failure *fault) {
	level := slog.LevelError
	if errors.Is(ctx.Err(), context.Canceled) { // it is the caller who ended it
		level = slog.LevelDebug
	}
	c.logger.Log(ctx, level, "dynpsrpc: an instance of a plugin is thrown away",
		slog.String("method", method.FullName()), slog.Any("error", failure.reason))
}
