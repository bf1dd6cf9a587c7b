package wasm

import (
	"context"
	"fmt"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// fault is an error after which an instance can no longer be used, because the state of its memory
// is unknown.
type fault struct {
	code errors.ErrorCode
	// summary describes the failure in the error that the caller receives, for example "exceeded
	// its memory limit". It contains no data from the module.
	summary string
	// reason is the complete error, which is written to the log.
	reason error
}

func (f *fault) Error() string { return f.reason.Error() }

func (f *fault) Unwrap() error { return f.reason }

// callerError returns the error to be sent to the caller of method. It leaves out the reason, which
// may contain data from the module.
func (f *fault) callerError(method *registry.Method) error {
	switch f.code {
	case errors.Canceled:
		return errors.FromContext(context.Canceled)
	case errors.DeadlineExceeded:
		return errors.FromContext(context.DeadlineExceeded)
	}
	return errors.NewErrorf(f.code, "plugin that serves %s %s: see the server's log", method.FullName(), f.summary)
}

// abiViolation returns a fault for a module that violates the ABI.
func abiViolation(format string, args ...any) *fault {
	return &fault{errors.Internal, "returned an invalid result", fmt.Errorf(format, args...)}
}
