package dynamic

import (
	"context"
	"reflect"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// chain wraps handler in interceptors. The first interceptor becomes the outermost. chain returns
// an error if an interceptor returns a nil handler.
func chain[I ~func(RPCInfo, H) H, H any](interceptors []I, info RPCInfo, handler H) (H, error) {
	for _, intercept := range slices.Backward(interceptors) {
		handler = intercept(info, handler)
		if reflect.ValueOf(handler).IsNil() {
			return handler, errNoHandler(info.Descriptor)
		}
	}
	return handler, nil
}

// errNoHandler returns the error for an interceptor that has returned a nil handler.
func errNoHandler(method *registry.Method) error {
	return errors.NewErrorf(errors.Internal, "an interceptor of %s returned no handler", method.FullName())
}

// interceptorPanicked returns the error for an interceptor that has panicked. The error may be sent
// to the other side, so it does not contain the panic value.
func interceptorPanicked(method *registry.Method) errors.Error {
	return errors.NewErrorf(errors.Internal, "an interceptor of %s panicked", method.FullName())
}

// wrongMessage returns the error for an interceptor that has passed on a message of the wrong type.
// kind is "request", "response", "update" or "message".
func wrongMessage(kind string, method *registry.Method, err error) error {
	return errors.NewErrorf(errors.Internal, "%s of %s from an interceptor: %w", kind, method.FullName(), err)
}

// ensureCode returns err if it has an error code. Otherwise, it converts err to an error with a
// code. The errors of calls always have a code, but interceptors may return errors without a code.
func ensureCode(err error) error {
	if _, coded := errors.AsType[errors.Error](err); coded {
		return err
	}
	return errors.FromContext(err)
}

// chainServerRPC wraps handler in interceptors. The first interceptor becomes the outermost. The
// chain is built before the first request arrives, so that requests allocate nothing for it.
func chainServerRPC(interceptors []ServerRPCInterceptor, info RPCInfo, handler ServerRPCHandler) ServerRPCHandler {
	for _, intercept := range slices.Backward(interceptors) {
		next := handler
		handler = func(ctx context.Context, request proto.Message) (proto.Message, error) {
			return intercept(ctx, request, info, next)
		}
	}
	return handler
}
