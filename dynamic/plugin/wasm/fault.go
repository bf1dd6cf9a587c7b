package wasm

import (
	"context"
	"fmt"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// fault is an error after which an instance is discarded, because the state of its memory is
// unknown.
type fault struct {
	code errors.ErrorCode
	// summary is the predicate of the error text for the caller. It contains nothing that comes
	// from the module.
	summary string
	// reason is the full error, for the log.
	reason error
}

func (f *fault) Error() string { return f.reason.Error() }

func (f *fault) Unwrap() error { return f.reason }

// callerError returns the error for the caller of a method: the code and the summary.
func (f *fault) callerError(method *registry.Method) error {
	switch f.code {
	case errors.Canceled:
		return errors.FromContext(context.Canceled)
	case errors.DeadlineExceeded:
		return errors.FromContext(context.DeadlineExceeded)
	}
	return errors.NewErrorf(f.code, "plugin that serves %s %s: see the server's log", method.FullName(), f.summary)
}

// abiViolation returns the fault of a module that violates the ABI.
func abiViolation(format string, args ...any) *fault {
	return &fault{errors.Internal, "returned an invalid result", fmt.Errorf(format, args...)}
}
