package plugin

import (
	"runtime/debug"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// guard makes an error of a panic in code that is not the host's.
func guard(what string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.NewErrorf(errors.Internal, "%s panicked: %v\n%s", what, p, debug.Stack())
		}
	}()
	return f()
}
