package dynamic

import (
	"reflect"
	"slices"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// chain lets each interceptor make its handler around that of the next one; the first given is outermost. It fails if
// one of them makes none.
func chain[I ~func(RPCInfo, H) H, H any](interceptors []I, info RPCInfo, handler H) (H, error) {
	for _, intercept := range slices.Backward(interceptors) {
		handler = intercept(info, handler)
		if reflect.ValueOf(handler).IsNil() {
			return handler, errNoHandler(info.Descriptor)
		}
	}
	return handler, nil
}

func errNoHandler(method *registry.Method) error {
	return errors.NewErrorf(errors.Internal, "an interceptor of %s returned no handler", method.FullName())
}

// interceptorPanicked is what others learn of a panic.
func interceptorPanicked(method *registry.Method) errors.Error {
	return errors.NewErrorf(errors.Internal, "an interceptor of %s panicked", method.FullName())
}

// wrongMessage is the error of a message that an interceptor has put in place of another one.
func wrongMessage(what string, method *registry.Method, err error) error {
	return errors.NewErrorf(errors.Internal, "%s of %s from an interceptor: %w", what, method.FullName(), err)
}

// ensureCode gives an error of an interceptor a code if it has none, as every error of a call has one.
func ensureCode(err error) error {
	if _, coded := errors.AsType[errors.Error](err); coded {
		return err
	}
	return errors.FromContext(err)
}
