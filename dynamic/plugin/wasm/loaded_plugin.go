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
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm/internal/metering"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// loadedPlugin is one loaded version of a plugin. It contains the compiled module and a pool of
// instances. It implements [plugin.Instance] and [plugin.CallCounter].
type loadedPlugin struct {
	options  *options
	logger   *slog.Logger
	limits   plugin.Limits
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	pool     *pool
	services []plugin.Service
	// onClose is called when the plugin has been closed.
	onClose func()

	handled, failed atomic.Uint64
}

// prepare compiles the module, starts the first instance and creates handlers for the methods that
// the module serves.
func (p *loadedPlugin) prepare(ctx context.Context, source *plugin.Source) error {
	if err := p.instantiateHostModules(ctx, source); err != nil {
		return err
	}
	compiled, err := compileModule(ctx, p.runtime, source.Content)
	if err != nil {
		return err
	}
	p.compiled = compiled
	if err := errors.Join(checkImports(p.runtime, compiled), checkExports(compiled, p.limits.Memory)); err != nil {
		return err
	}
	return p.start(ctx, source.Services)
}

// start creates the first instance of the compiled module and binds the services to its methods.
func (p *loadedPlugin) start(ctx context.Context, services []*registry.Service) error {
	first, err := p.newInstance(ctx)
	if err != nil {
		return err
	}
	methods, err := first.describe(ctx)
	if err != nil {
		return err
	}
	p.pool.addIdle(first)
	p.services, err = p.bindServices(services, methods)
	return err
}

// instantiateHostModules instantiates the modules that the plugin can import: WASI, the host module
// of this package, and the modules added by [WithModule].
func (p *loadedPlugin) instantiateHostModules(ctx context.Context, source *plugin.Source) error {
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, p.runtime); err != nil {
		return fmt.Errorf("cannot instantiate host module %s: %w", wasi_snapshot_preview1.ModuleName, err)
	}
	_, err := p.runtime.NewHostModuleBuilder(hostModuleName).
		NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(hostLog), []api.ValueType{i32, i32, i32}, nil).Export("log").
		NewFunctionBuilder().
		WithGoFunction(api.GoFunc(hostClock), nil, []api.ValueType{i64}).Export("clock").
		NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(metering.Check), nil, nil).Export(metering.ExportName).
		Instantiate(ctx)
	if err != nil {
		return fmt.Errorf("cannot instantiate host module %s: %w", hostModuleName, err)
	}
	for _, instantiate := range p.options.modules {
		if err := instantiate(ctx, source, p.runtime); err != nil {
			return fmt.Errorf("cannot instantiate host modules of WithModule: %w", err)
		}
	}
	return nil
}

// compileModule adds a meter to a module and compiles it. It uses at least two compilation
// workers, because wazero ignores ctx if there is only one.
func compileModule(ctx context.Context, wasm wazero.Runtime, content []byte) (wazero.CompiledModule, error) {
	instrumented, err := metering.Instrument(content, hostModuleName)
	if err != nil {
		return nil, err
	}
	workers := max(2, runtime.GOMAXPROCS(0))
	compiled, err := wasm.CompileModule(experimental.WithCompilationWorkers(ctx, workers), instrumented)
	if err != nil {
		return nil, fmt.Errorf("cannot compile WebAssembly module: %w", err)
	}
	return compiled, nil
}

// newInstance starts an instance. It returns an error if the start takes longer than startTimeout.
func (p *loadedPlugin) newInstance(ctx context.Context) (*instance, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	in := &instance{
		memory:      memory{limit: p.limits.Memory},
		log:         guestLog{logger: p.logger},
		maxResponse: p.options.maxResponse,
	}
	ctx = in.begin(ctx)
	config := wazero.NewModuleConfig().
		WithName(""). // without a name, a runtime can have several instances of the module
		WithStartFunctions("_initialize").
		WithSysWalltime().WithSysNanotime().WithNanosleep(in.sleep).
		WithRandSource(in).
		WithStdout(&lineWriter{log: &in.log, write: in.log.writeInfo}).
		WithStderr(&lineWriter{log: &in.log, write: in.log.writeError})
	module, err := p.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, &in.memory), p.compiled, config)
	in.log.logCrash()
	if err == nil && module.IsClosed() {
		err = errors.New("module exited while it was initialized")
	}
	if err != nil {
		failure := in.newFault(ctx, err)
		failure.reason = fmt.Errorf("cannot start an instance: %w", failure.reason)
		return nil, failure
	}
	in.module = module
	in.allocFunc, in.callFunc = module.ExportedFunction(exportAlloc), module.ExportedFunction(exportCall)
	if err := in.checkVersion(ctx); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// bindServices returns the services with a handler for each method that the module serves. served
// is the module's list of methods. Calls to the module identify a method by its index in this list.
// The error names every difference between the services and the list.
func (p *loadedPlugin) bindServices(services []*registry.Service, served []string) ([]plugin.Service, error) {
	indexes := make(map[string]uint32, len(served))
	for index, method := range served {
		indexes[method] = uint32(index)
	}
	var errs []error
	result := make([]plugin.Service, 0, len(services))
	for _, service := range services {
		handlers := dynamic.Handlers{}
		for _, method := range service.Methods() {
			index, ok := indexes[method.FullName()]
			delete(indexes, method.FullName())
			switch err := checkMethod(method, ok); {
			case err != nil:
				errs = append(errs, err)
			case ok:
				handlers[method.Name()] = p.handler(index)
			}
		}
		result = append(result, plugin.Service{
			Descriptor: service.Descriptor(), Handlers: handlers,
			Options: []dynamic.ServiceOption{dynamic.WithWireName(service.WireName())},
		})
	}
	for _, method := range served {
		if _, unbound := indexes[method]; unbound {
			errs = append(errs, fmt.Errorf("module serves %s, which is not a method of the plugin's services", method))
		}
	}
	if len(services) == 0 {
		errs = append(errs, errors.New("manifest names no descriptors: add those of the methods that the module serves"))
	}
	return result, errors.Join(errs...)
}

// handler returns a handler for the method with the given index in the module's method list.
func (p *loadedPlugin) handler(index uint32) dynamic.Handler {
	return dynamic.Raw(func(ctx context.Context, method *registry.Method, request []byte) ([]byte, error) {
		return p.serve(ctx, method, index, request)
	})
}

// Services implements [plugin.Instance]. It returns the services that the host must register.
func (p *loadedPlugin) Services() []plugin.Service { return p.services }

// Counts implements [plugin.CallCounter].
func (p *loadedPlugin) Counts() (handled, failed uint64) {
	return p.handled.Load(), p.failed.Load()
}

// Close implements [plugin.Instance]. It frees all instances. Running requests and later requests
// fail.
func (p *loadedPlugin) Close(ctx context.Context) error {
	p.pool.close()
	err := p.runtime.Close(context.WithoutCancel(ctx))
	p.onClose()
	return err
}

// serve handles a request in one of the instances. If the instance fails, serve logs the fault and
// returns an error that is safe to send to the caller.
func (p *loadedPlugin) serve(ctx context.Context, method *registry.Method, index uint32, request []byte) ([]byte, error) {
	ctx, deadline, cancel := p.withTimeLimit(ctx)
	defer cancel()
	response, err := p.run(ctx, index, request, deadline)
	p.handled.Add(1)
	if err == nil {
		return response, nil
	}
	p.failed.Add(1)
	if failure, ok := errors.AsType[*fault](err); ok {
		p.logDiscard(ctx, method, failure)
		err = failure.callerError(method)
	}
	return nil, err
}

// withTimeLimit returns a context that ends after the plugin's timeout, and the deadline of that
// context. If ctx already has an earlier deadline, ctx itself is returned, which saves a timer.
func (p *loadedPlugin) withTimeLimit(ctx context.Context) (context.Context, time.Time, context.CancelFunc) {
	limit := time.Now().Add(time.Duration(p.limits.Timeout))
	if deadline, ok := ctx.Deadline(); ok && !limit.Before(deadline) {
		return ctx, deadline, func() {}
	}
	ctx, cancel := context.WithDeadline(ctx, limit)
	return ctx, limit, cancel
}

// run handles a request in an instance from the pool. If the call returns a fault, run discards the
// instance instead of releasing it.
func (p *loadedPlugin) run(ctx context.Context, index uint32, request []byte, deadline time.Time) ([]byte, error) {
	in, err := p.pool.acquire(ctx)
	if err != nil {
		return nil, err
	}
	response, err := in.call(ctx, index, request, deadline)
	in.log.logCrash()
	if _, failed := errors.AsType[*fault](err); failed {
		p.pool.discard(in)
	} else {
		p.pool.release(in)
	}
	return response, err
}

// logDiscard logs why an instance was discarded. If the caller canceled the request, the level is
// debug, because the plugin is not at fault.
func (p *loadedPlugin) logDiscard(ctx context.Context, method *registry.Method, failure *fault) {
	level := slog.LevelError
	if errors.Is(ctx.Err(), context.Canceled) {
		level = slog.LevelDebug
	}
	p.logger.Log(ctx, level, "dynpsrpc: plugin instance discarded",
		slog.String("method", method.FullName()), slog.Any("error", failure.reason))
}
