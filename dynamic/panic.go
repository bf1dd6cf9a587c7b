package dynamic

import (
	"context"
	"log/slog"
	"runtime/debug"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/serve"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// panicReporter logs panics and calls the panic hooks.
type panicReporter struct {
	logger *slog.Logger
	hooks  []PanicHook
	// engine records the panics in the handlers and interceptors of a service. It is nil on a conn.
	engine *serve.Service
}

// report logs a panic, with the value that was passed to panic, and calls the hooks. source says
// what panicked, for example "handler". report must be called on the goroutine that panicked,
// because it logs the stack of the goroutine on which it runs. If a hook panics, report recovers
// and logs that panic too.
func (r panicReporter) report(ctx context.Context, method *registry.Method, source string, value any) {
	stack := debug.Stack()
	r.log(method, source, value, stack)
	if r.engine != nil {
		r.engine.RecordPanic(method)
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

// emitRequestEvent passes an event to the handlers. If a handler panics, the panic is logged and
// passed to the panic hooks.
func emitRequestEvent(handlers []RequestEventHandler, panics panicReporter, event RequestEvent) {
	for _, handler := range handlers {
		func() {
			defer func() {
				if value := recover(); value != nil {
					panics.report(context.Background(), event.Info.Descriptor, "handler of request events", value)
				}
			}()
			handler(event)
		}()
	}
}
