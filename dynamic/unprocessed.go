package dynamic

import "github.com/dynpsrpc/dynpsrpc/errors"

// Unprocessed marks an error with which a server's interceptor or handler refuses a request: nothing was done for it, so that
// making the call again does no harm. The client learns of that, see [IsUnprocessed]. Code, text and details are those of err.
// The mark is of no effect for multi calls, streams and clients of psrpc. nil gives nil.
func Unprocessed(err error) error {
	if err == nil {
		return nil
	}
	return unprocessedError{err}
}

// IsUnprocessed tells of a call's error whether the server that has answered says that nothing was done for the request, as it
// does where it has no room for it, and with [Unprocessed]. A server that returns such an error of a call of its own does not
// pass that on, for it has done something.
func IsUnprocessed(err error) bool {
	_, refused := errors.AsType[remoteUnprocessedError](err)
	return refused
}

// unprocessedError is marked by this side.
type unprocessedError struct{ error }

func (e unprocessedError) Unwrap() error { return e.error }

// isMarkedUnprocessed tells whether this side has marked an error.
func isMarkedUnprocessed(err error) bool {
	_, marked := errors.AsType[unprocessedError](err)
	return marked
}

// remoteUnprocessedError is marked by the other side.
type remoteUnprocessedError struct{ error }

func (e remoteUnprocessedError) Unwrap() error { return e.error }
