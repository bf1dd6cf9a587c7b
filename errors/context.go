package errors

import "context"

// FromContext returns the error of a call whose context has ended with err, which is what its Err method
// returned. It has the code and text of [ErrRequestCanceled] or [ErrRequestTimedOut], and [Is] finds both
// that one and err. Any other error keeps its code and text, and nil gives nil.
func FromContext(err error) Error {
	switch {
	case err == nil:
		return nil
	case Is(err, context.Canceled):
		return wrapContextError(ErrRequestCanceled, err)
	case Is(err, context.DeadlineExceeded):
		return wrapContextError(ErrRequestTimedOut, err)
	}
	return withText(err, err.Error())
}

func wrapContextError(sentinel Error, err error) Error {
	return &codedError{code: sentinel.Code(), text: sentinel.Error(), cause: Join(sentinel, err)}
}

// withText wraps err in an error that keeps its code and details, but has its own text.
func withText(err error, text string) *codedError {
	code, _, details := ToWire(err)
	return &codedError{code: code, text: text, cause: err, details: details}
}
