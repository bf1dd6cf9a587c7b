package transport

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// ClassifyError converts err, which Bus.Publish or Bus.Subscribe has returned, to the error that
// the caller of a method receives. It also returns the reason to record in the errors.CallFacts of
// that error. err must not be nil.
//
//   - If the context ended, the error has code canceled or deadline_exceeded, and the reason is the
//     one returned by ContextReason.
//   - bus.ErrFrameTooLarge is returned unchanged, with ReasonTooLarge.
//   - bus.ErrMisrouted is returned unchanged, with ReasonMisrouted.
//   - Any other error with code unavailable, which means that the broker is unreachable or the bus
//     is closed, is returned unchanged, with ReasonBusDown.
//   - An error with another code, such as permission_denied, is returned unchanged, with
//     ReasonRefused.
//   - An error without a code is wrapped in an error with code internal, with ReasonBusDown.
func ClassifyError(err error) (error, errors.Reason) { //nolint:staticcheck // the reason belongs to the error
	coded, ok := errors.AsType[errors.Error](err)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return errors.FromContext(err), ContextReason(err)
	case errors.Is(err, bus.ErrFrameTooLarge):
		return err, errors.ReasonTooLarge
	case errors.Is(err, bus.ErrMisrouted):
		return err, errors.ReasonMisrouted
	case ok && coded.Code() == errors.Unavailable:
		return err, errors.ReasonBusDown
	case ok:
		return err, errors.ReasonRefused
	default:
		return errors.NewErrorf(errors.Internal, "the bus failed: %w", err), errors.ReasonBusDown
	}
}

// WithSubscribeCode returns an error that wraps err and puts text in front of its message. err must
// have been returned by Bus.Subscribe. The new error has the code of err, or unavailable if err has
// no code.
func WithSubscribeCode(err error, text string) error {
	code := errors.Unavailable
	if coded, ok := errors.AsType[errors.Error](err); ok {
		code = coded.Code()
	}
	return errors.NewErrorf(code, "%s: %w", text, err)
}

// IsPermissionDenied reports whether a bus returned err because the broker does not permit this
// process to publish or to subscribe.
func IsPermissionDenied(err error) bool {
	coded, ok := errors.AsType[errors.Error](err)
	return ok && coded.Code() == errors.PermissionDenied
}

// ContextReason returns the reason to record for a call that failed because its context ended. err
// is the error of the context.
func ContextReason(err error) errors.Reason {
	if errors.Is(err, context.Canceled) {
		return errors.ReasonCanceled
	}
	return errors.ReasonDeadline
}
