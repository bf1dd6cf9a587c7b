package guard

import (
	"runtime/debug"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Call calls f and returns its error. If f panics, Call returns an error with the code internal that
// names what panicked, the value of the panic, and the stack.
func Call(what string, f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = errors.NewErrorf(errors.Internal, "%s panicked: %v\n%s", what, value, debug.Stack())
		}
	}()
	return f()
}
