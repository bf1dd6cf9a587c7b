package serve

import "github.com/dynpsrpc/dynpsrpc/errors"

// unprocessedError is an error of a call for which this server has done no work. The response says
// so, and the client may safely retry the call.
type unprocessedError struct{ error }

func (e unprocessedError) Unwrap() error { return e.error }

// MarkUnprocessed marks err to say that the server has done no work for the request. The code, text
// and details of err are preserved. If err is nil, MarkUnprocessed returns nil.
func MarkUnprocessed(err error) error {
	if err == nil {
		return nil
	}
	return unprocessedError{err}
}

// isUnprocessed reports whether err has been marked with MarkUnprocessed.
func isUnprocessed(err error) bool {
	_, marked := errors.AsType[unprocessedError](err)
	return marked
}
