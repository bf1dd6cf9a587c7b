package dynamic

import "github.com/dynpsrpc/dynpsrpc/dynamic/internal/stream"

// ErrKeepaliveTimeout is the error of a stream that was closed because no frame had arrived from
// the other side for too long. See [WithKeepalive] and [WithStreamIdleTimeout].
var ErrKeepaliveTimeout = stream.ErrKeepaliveTimeout

// UnacknowledgedError means that earlier messages were not acknowledged, for example because they
// timed out or the stream was closed. Send and Flush of a stream with a send window return it. It
// wraps the error of the message that failed first, so [errors.Is] and [errors.AsType] find that
// error and its code. Each message is reported only once. The other side may have received some of
// the messages, because acknowledgements can be lost.
//
// Use errors.AsType[*dynamic.UnacknowledgedError] to get this error.
type UnacknowledgedError struct {
	// Messages contains the numbers of the messages in ascending order. The first call to Send on
	// this side of the stream has the number 1, the next one 2, and so on. Calls that returned an
	// error are counted too, unless an interceptor rejected them. If an interceptor calls its Send
	// handler several times, each of these calls is counted.
	Messages []uint64
	// Err is the error of the first message that failed.
	Err error
}

// Error implements error.
func (e *UnacknowledgedError) Error() string { return (*stream.UnacknowledgedError)(e).Error() }

// Unwrap returns Err.
func (e *UnacknowledgedError) Unwrap() error { return e.Err }

// publicStreamError returns err, or the exported type of the error if err is an
// UnacknowledgedError of package stream.
func publicStreamError(err error) error {
	if failure, ok := err.(*stream.UnacknowledgedError); ok { //nolint:errorlint // it is never wrapped
		return (*UnacknowledgedError)(failure)
	}
	return err
}
