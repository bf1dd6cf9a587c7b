package transport

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// ClassifyError converts an error of Bus.Publish or Bus.Subscribe to the error that the caller of a
// method gets, and returns the reason that belongs into the error's facts. err must not be nil.
//
//   - An ended context becomes canceled or deadline_exceeded, with its reason.
//   - bus.ErrFrameTooLarge stays as it is, with ReasonTooLarge.
//   - An error with code unavailable stays as it is, with ReasonBusDown: the broker is unreachable,
//     or the bus is closed.
//   - Any other error becomes internal and wraps err, with ReasonBusDown.
func ClassifyError(err error) (error, errors.Reason) { //nolint:staticcheck // the reason belongs to the error
	coded, ok := errors.AsType[errors.Error](err)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return errors.FromContext(err), ContextReason(err)
	case errors.Is(err, bus.ErrFrameTooLarge):
		return err, errors.ReasonTooLarge
	case ok && coded.Code() == errors.Unavailable:
		return err, errors.ReasonBusDown
	default:
		return errors.NewErrorf(errors.Internal, "the bus failed: %w", err), errors.ReasonBusDown
	}
}

// ContextReason returns the reason of a call that ended with err, the error of its context.
func ContextReason(err error) errors.Reason {
	if errors.Is(err, context.Canceled) {
		return errors.ReasonCanceled
	}
	return errors.ReasonDeadline
}
