package wasm

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero/sys"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// fault is an error after which an instance is not used again.
type fault struct {
	code   errors.ErrorCode
	summary   string // for the caller, who learns nothing that the code made up
	reason error  // for the log
}

func (f *fault) Error() string { return f.reason.Error() }

func (f *fault) Unwrap() error { return f.reason }

// callerError returns what the caller of a method learns.
func (f *fault) callerError(method *registry.Method) error {
	switch f.code {
	case errors.Canceled:
		return errors.FromContext(context.Canceled)
	case errors.DeadlineExceeded:
		return errors.FromContext(context.DeadlineExceeded)
	}
	return errors.NewErrorf(f.code, "the plugin that serves %s %s; the log of the server has the reason", method.FullName(), f.summary)
}

// abiViolation is the fault of code that does not keep to the ABI.
func abiViolation(format string, args ...any) *fault {
	return &fault{errors.Internal, "has returned what it must not", fmt.Errorf(format, args...)}
}

// newFault tells what err means, with which code has ended.
func (in *instance) newFault(ctx context.Context, err error) *fault {
	var exit *sys.ExitError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return &fault{errors.Canceled, "was not waited for", fmt.Errorf("%w: %w", ctx.Err(), err)}
	case ctx.Err() != nil:
		return &fault{errors.DeadlineExceeded, "took too long", fmt.Errorf("%w: %w", ctx.Err(), err)}
	case in.memory.refused:
		return &fault{errors.ResourceExhausted, "needs more memory than it may have",
			fmt.Errorf("it was refused more than its %d bytes of memory: %w", in.memory.limit, err)}
	case errors.As(err, &exit):
		return &fault{errors.Internal, "has ended itself", fmt.Errorf("it has exited with status %d", exit.ExitCode())}
	}
	return &fault{errors.Internal, "has failed", err}
}
