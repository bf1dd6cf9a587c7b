package errors

import "context"

// FromContext converts an error returned by a context's Err method to the error of a call.
// context.Canceled becomes [ErrRequestCanceled], and context.DeadlineExceeded becomes
// [ErrRequestTimedOut]. The result wraps the predefined error as well as err. Any other error keeps
// its code and text. If err is nil, FromContext returns nil.
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

// withText returns an error that wraps err and has the given text. It has the code and the details
// of err.
func withText(err error, text string) *codedError {
	code, _, details := ToWire(err)
	return &codedError{code: code, text: text, cause: err, details: details}
}
