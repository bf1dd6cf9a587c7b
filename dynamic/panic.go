package dynamic

import (
	"context"
	"log/slog"
	"runtime/debug"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// WithPanicHook adds a hook that is called for each panic that dynpsrpc recovers. These are panics
// in handlers, in affinity functions, in the handlers of [WithRequestEvents], and in interceptors
// that run on goroutines started by dynpsrpc. The panic is logged before the hook is called. The
// error that the caller of the method receives says only that there was a panic. If the hook itself
// panics, that panic is logged too. A nil hook is ignored.
func WithPanicHook(hook PanicHook) Option {
	return WithInterceptors(Interceptors{PanicHook: hook})
}

// panicReporter logs panics and calls the panic hooks.
type panicReporter struct {
	logger *slog.Logger
	hooks  []PanicHook
	// registration is the registration whose handler or interceptor may panic. It is nil on a conn.
	registration *Registration
}

// report logs a panic, with the value that was passed to panic, and calls the hooks. source says
// what panicked, for example "handler". report must be called on the goroutine that panicked,
// because it logs the stack of the goroutine on which it runs. If a hook panics, report recovers
// and logs that panic too.
func (r panicReporter) report(ctx context.Context, method *registry.Method, source string, value any) {
	stack := debug.Stack()
	r.log(method, source, value, stack)
	if r.registration != nil {
		r.registration.engine.RecordPanic(method)
	}
	for _, hook := range r.hooks {
		func() {
			defer func() {
				if value := recover(); value != nil {
					r.log(method, "panic hook", value, debug.Stack())
				}
			}()
			hook(ctx, Panic{Method: method, Value: value, Stack: stack})
		}()
	}
}

func (r panicReporter) log(method *registry.Method, source string, value any, stack []byte) {
	r.logger.Error("dynpsrpc: "+source+" panicked", slog.String("method", method.FullName()),
		slog.Any("panic", value), slog.String("stack", string(stack)))
}

// guard calls a function of an interceptor. If the function panics, guard reports the panic and
// returns an error. On a goroutine started by dynpsrpc, the panic would otherwise end the process.
func (r panicReporter) guard(ctx context.Context, method *registry.Method, function func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			r.report(ctx, method, "interceptor", value)
			err = interceptorPanicked(method)
		}
	}()
	return function()
}
