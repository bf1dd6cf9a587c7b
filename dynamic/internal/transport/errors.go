package transport

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// ClassifyError makes of the bus's error that of a call whose frames it does not carry.
func ClassifyError(err error) (error, errors.Reason) { //nolint:staticcheck // the pair that failed takes
	coded, ok := errors.AsType[errors.Error](err)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return errors.FromContext(err), ContextReason(err)
	case errors.Is(err, bus.ErrFrameTooLarge):
		return err, errors.ReasonTooLarge
	case ok && coded.Code() == errors.Unavailable:
		return err, errors.ReasonBusDown
	default:
		return errors.NewErrorf(errors.Internal, "the bus did not take the request: %w", err), errors.ReasonBusDown
	}
}

// ContextReason is the reason for which a context's error ends a call.
func ContextReason(err error) errors.Reason {
	if errors.Is(err, context.Canceled) {
		return errors.ReasonCanceled
	}
	return errors.ReasonDeadline
}
