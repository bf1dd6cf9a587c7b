package interceptors

import (
	"context"
	"log/slog"
	"runtime/debug"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Recovery converts panics to errors with the code internal. The text of such an error contains no
// details except the name of the method. The panic value and the stack are logged and passed to
// hook, which may be nil. If logger is nil, slog.Default() is used.
//
// Servers recover panics in handlers even without this interceptor (see [dynamic.WithPanicHook]).
// Recovery has the following additional effects:
//
//   - Interceptors outside Recovery receive an error instead of a panic.
//   - On a conn, a panic in an interceptor inside Recovery becomes the error of the call instead of
//     propagating to the caller.
//   - A panic in a subscription interceptor drops one update, instead of ending the subscription.
//   - The hook is also called for panics in stream handlers and affinity functions. Servers recover
//     and log these panics even without Recovery.
func Recovery(logger *slog.Logger, hook dynamic.PanicHook) dynamic.Option {
	r := &recovery{loggerOrDefault(logger), hook}
	return dynamic.WithInterceptors(dynamic.Interceptors{
		ServerRPC:      r.serve,
		ServerPublish:  r.publish,
		ClientRPC:      r.call,
		ClientMultiRPC: r.multi,
		ClientStream:   r.stream,
		Publish:        r.publish,
		Subscription:   r.deliver,
		PanicHook:      hook,
	})
}

type recovery struct {
	logger *slog.Logger
	hook   dynamic.PanicHook
}

// recoverTo recovers a panic and stores the resulting error in *err. It must be called directly by
// a defer statement.
func (r *recovery) recoverTo(ctx context.Context, method *registry.Method, err *error) {
	value := recover()
	if value == nil {
		return
	}
	stack := debug.Stack()
	r.logger.ErrorContext(ctx, "recovered panic", slog.String("method", method.FullName()),
		slog.Any("panic", value), slog.String("stack", string(stack)))
	*err = errors.NewErrorf(errors.Internal, "method %s panicked", method.FullName())
	if r.hook != nil {
		r.hook(ctx, dynamic.Panic{Method: method, Value: value, Stack: stack})
	}
}

func (r *recovery) serve(
	ctx context.Context, request proto.Message, info dynamic.RPCInfo, handler dynamic.ServerRPCHandler,
) (response proto.Message, err error) {
	defer r.recoverTo(ctx, info.Descriptor, &err)
	return handler(ctx, request)
}

func (r *recovery) call(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
	return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (response proto.Message, err error) {
		defer r.recoverTo(ctx, info.Descriptor, &err)
		return next(ctx, request, opts...)
	}
}

func (r *recovery) publish(info dynamic.RPCInfo, next dynamic.PublishHandler) dynamic.PublishHandler {
	return func(ctx context.Context, update proto.Message) (err error) {
		defer r.recoverTo(ctx, info.Descriptor, &err)
		return next(ctx, update)
	}
}

func (r *recovery) deliver(info dynamic.RPCInfo, next dynamic.DeliveryHandler) dynamic.DeliveryHandler {
	return func(ctx context.Context, update proto.Message) (err error) {
		defer r.recoverTo(ctx, info.Descriptor, &err)
		return next(ctx, update)
	}
}

func (r *recovery) multi(info dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
	return recoveredMulti{next, r, info.Descriptor}
}

func (r *recovery) stream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	return recoveredStream{next, r, info.Descriptor}
}

type recoveredMulti struct {
	// Recv and Close are not wrapped, because package dynamic recovers their panics.
	dynamic.ClientMultiRPCHandler

	recovery *recovery
	method   *registry.Method
}

func (m recoveredMulti) Send(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (err error) {
	defer m.recovery.recoverTo(ctx, m.method, &err)
	return m.ClientMultiRPCHandler.Send(ctx, request, opts...)
}

type recoveredStream struct {
	// Recv is not wrapped, because package dynamic recovers its panics.
	dynamic.StreamHandler

	recovery *recovery
	method   *registry.Method
}

func (s recoveredStream) Send(message proto.Message, opts ...dynamic.StreamOption) (err error) {
	defer s.recovery.recoverTo(dynamic.StreamContext(s.StreamHandler), s.method, &err)
	return s.StreamHandler.Send(message, opts...)
}

func (s recoveredStream) Close(cause error) (err error) {
	defer s.recovery.recoverTo(dynamic.StreamContext(s.StreamHandler), s.method, &err)
	return s.StreamHandler.Close(cause)
}
