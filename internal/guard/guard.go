package guard

import (
	"runtime/debug"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Call calls f and returns its error. If f panics, Call returns an error with code
// [errors.Internal] whose text contains what, the panic value and the stack trace. what is a
// description of f.
func Call(what string, f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = errors.NewErrorf(errors.Internal, "%s panicked: %v\n%s", what, value, debug.Stack())
		}
	}()
	return f()
}
