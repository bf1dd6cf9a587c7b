package dynamic

import "github.com/dynpsrpc/dynpsrpc/errors"

// Unprocessed marks an error with which an interceptor or handler of a server rejects a request
// before it has done anything for the request, so that the call can safely be repeated. The client
// finds the mark with [IsUnprocessed]. Code, text and details remain those of err. Unprocessed(nil)
// is nil.
//
// The mark is not sent in answers to multi calls, to streams, or to psrpc clients.
func Unprocessed(err error) error {
	if err == nil {
		return nil
	}
	return unprocessedError{err}
}

// IsUnprocessed reports whether err is the error of a call that the server rejected before
// processing the request: because the server was at its limits, or with [Unprocessed].
//
// The mark covers one call only. A handler that returns the error of a call it made itself does not
// pass the mark on to its own caller, since the handler has already done something.
func IsUnprocessed(err error) bool {
	_, refused := errors.AsType[remoteUnprocessedError](err)
	return refused
}

// unprocessedError is an error that a server of this process has marked with Unprocessed.
type unprocessedError struct{ error }

func (e unprocessedError) Unwrap() error { return e.error }

// isMarkedUnprocessed reports whether a server of this process has marked err with Unprocessed.
func isMarkedUnprocessed(err error) bool {
	_, marked := errors.AsType[unprocessedError](err)
	return marked
}

// remoteUnprocessedError is an error that the server of a call has marked. It is a type of its own,
// so that a handler which returns it does not mark its own response.
type remoteUnprocessedError struct{ error }

func (e remoteUnprocessedError) Unwrap() error { return e.error }
