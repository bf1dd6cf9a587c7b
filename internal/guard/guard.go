package guard

import (
	"runtime/debug"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Call calls f and returns its error. If f panics, Call returns an error with code
// [errors.Internal]. The text of the error contains description, the panic value and the stack
// trace. description should say what f is, such as "loader".
func Call(description string, f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = errors.NewErrorf(errors.Internal, "%s panicked: %v\n%s", description, value, debug.Stack())
		}
	}()
	return f()
}
