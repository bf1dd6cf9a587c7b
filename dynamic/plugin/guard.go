package plugin

import (
	"runtime/debug"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// guard calls f and returns its error. A panic of f becomes an error that names what panicked and
// has the stack.
func guard(what string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.NewErrorf(errors.Internal, "%s panicked: %v\n%s", what, p, debug.Stack())
		}
	}()
	return f()
}
