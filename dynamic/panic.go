package dynamic

import (
	"context"
	"log/slog"
	"runtime/debug"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Panic is a panic that was recovered.
type Panic struct {
	// Method is the one whose handler, affinity function or interceptor it was.
	Method *registry.Method
	// Value is that of the panic: nil if a handler has ended its goroutine with runtime.Goexit.
	Value any
	// Stack is that of the goroutine, as text.
	Stack []byte
}

// PanicHook is told of a panic, on the goroutine that has panicked. ctx is that of the request, stream or subscription, and
// the background context for a multi call.
type PanicHook func(ctx context.Context, p Panic)

// WithPanicHook adds a hook that is told of each panic that the engine recovers, after that was logged: those of handlers,
// of affinity functions, and of interceptors on goroutines of the engine. The caller learns of none more than that there was
// one. A panic of the hook itself is logged. A nil hook is left out.
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

// panicReporter is who is told of panics.
type panicReporter struct {
	logger *slog.Logger
	hooks  []PanicHook
}

// report tells of what is not to end the goroutine.
func (r panicReporter) report(ctx context.Context, method *registry.Method, what string, value any) {
	stack := debug.Stack()
	r.log(method, what, value, stack)
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

func (r panicReporter) log(method *registry.Method, what string, value any, stack []byte) {
	r.logger.Error("dynpsrpc: "+what+" panicked", slog.String("method", method.FullName()),
		slog.Any("panic", value), slog.String("stack", string(stack)))
}

// guard calls a function of an interceptor on a goroutine of the engine. A panic is reported, and becomes the error.
func (r panicReporter) guard(ctx context.Context, method *registry.Method, function func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			r.report(ctx, method, "interceptor", value)
			err = interceptorPanicked(method)
		}
	}()
	return function()
}
