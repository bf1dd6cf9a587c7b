package errors

import "context"

// FromContext converts the error of an ended context, as returned by its Err method, to the error
// of a call. The result has the code and text of [ErrRequestCanceled] or [ErrRequestTimedOut], and
// wraps both that error and err. Any other error keeps its code and text. The result for nil is
// nil.
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

// withText wraps err in an error with the same code and details but another text.
func withText(err error, text string) *codedError {
	code, _, details := ToWire(err)
	return &codedError{code: code, text: text, cause: err, details: details}
}
