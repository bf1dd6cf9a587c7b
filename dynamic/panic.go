package dynamic

import (
	"context"
	"log/slog"
	"runtime/debug"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// WithPanicHook adds a hook that is called for each panic that the library recovers, after it has
// logged the panic: panics of handlers, of affinity functions, and of interceptors on goroutines of
// the library. The caller of the method only learns that there was a panic. A panic of the hook
// itself is logged. A nil hook is ignored.
func WithPanicHook(hook PanicHook) CommonOption {
	return panicHookOption(hook)
}

type panicHookOption PanicHook

func (h panicHookOption) applyServer(o *serverOptions)     { h.add(&o.interceptors.panics) }
func (h panicHookOption) applyRegister(o *registerOptions) { h.add(&o.interceptors.panics) }
func (h panicHookOption) applyConn(o *connOptions)         { h.add(&o.interceptors.panics) }

func (h panicHookOption) add(to *[]PanicHook) {
	if h != nil {
		*to = append(*to, PanicHook(h))
	}
}

// panicReporter logs panics and calls the hooks.
type panicReporter struct {
	logger *slog.Logger
	hooks  []PanicHook
}

// report reports a panic with this value. source names the function that panicked, such as
// "handler". report must be called on the goroutine that panicked, for its stack. A panic of a hook
// does not reach the caller of report.
func (r panicReporter) report(ctx context.Context, method *registry.Method, source string, value any) {
	stack := debug.Stack()
	r.log(method, source, value, stack)
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

// guard calls a function of an interceptor on a goroutine of the library, where no caller would
// recover its panic. It reports a panic and returns it as an error.
func (r panicReporter) guard(ctx context.Context, method *registry.Method, function func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			r.report(ctx, method, "interceptor", value)
			err = interceptorPanicked(method)
		}
	}()
	return function()
}
