package nilarg

import (
	"context"
	"reflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// ErrContext is returned by functions that are called with a nil context.
var ErrContext = errors.NewErrorf(errors.InvalidArgument, "the context is nil")

// ErrHandler is returned by the Subscribe method of a bus if it is called with a nil handler.
var ErrHandler = errors.NewErrorf(errors.InvalidArgument, "the handler is nil")

// ContextErr returns ErrContext if ctx is nil, and otherwise the error of ctx.
func ContextErr(ctx context.Context) error {
	if ctx == nil {
		return ErrContext
	}
	return ctx.Err()
}

// SubscribeErr checks the arguments of a bus's Subscribe. It returns ErrContext if ctx is nil, the
// error of ctx if ctx has ended, and ErrHandler if handler is nil.
func SubscribeErr(ctx context.Context, handler func(frame []byte)) error {
	if err := ContextErr(ctx); err != nil {
		return err
	}
	if handler == nil {
		return ErrHandler
	}
	return nil
}

// Is reports whether value is nil or contains a nil pointer or a nil function. In either case, its
// methods must not be called.
func Is(value any) bool {
	if value == nil {
		return true
	}
	v := reflect.ValueOf(value)
	return (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil()
}
