package errors

// These are predefined errors with the codes and texts of psrpc. [Is] also finds them in errors
// that were received over the bus and in errors with [CallFacts].
var (
	// ErrRequestCanceled means that the context of the call was canceled.
	ErrRequestCanceled = newSentinel(Canceled, "request canceled")
	// ErrRequestTimedOut means that a response, or the acknowledgement of a stream message, did not
	// arrive in time.
	ErrRequestTimedOut = newSentinel(DeadlineExceeded, "request timed out")
	// ErrNoResponse means that no server claimed the request or responded to it.
	ErrNoResponse = newSentinel(Unavailable, "no response from servers")
	// ErrUnimplemented means that the server has no handler for the method.
	ErrUnimplemented = newSentinel(Unimplemented, "method is not implemented")
	// ErrStreamEOF means that the server at the other end of the stream was shut down, or that it
	// no longer serves the service or topic.
	ErrStreamEOF = newSentinel(Unavailable, "EOF")
	// ErrClientClosed means that the client was closed before or during the call.
	ErrClientClosed = newSentinel(Canceled, "client is closed")
	// ErrServerClosed means that the server was closed.
	ErrServerClosed = newSentinel(Canceled, "server is closed")
	// ErrStreamClosed means that the stream was closed without an error.
	ErrStreamClosed = newSentinel(Canceled, "stream closed")
	// ErrSlowConsumer means that a message was dropped because the receiver had too many unread
	// messages. In this module, only subscriptions return it.
	ErrSlowConsumer = newSentinel(Unavailable, "stream message discarded by slow consumer")
)

var sentinels = []Error{
	ErrRequestCanceled,
	ErrRequestTimedOut,
	ErrNoResponse,
	ErrUnimplemented,
	ErrStreamEOF,
	ErrClientClosed,
	ErrServerClosed,
	ErrStreamClosed,
	ErrSlowConsumer,
}

func newSentinel(code ErrorCode, text string) Error {
	return &codedError{code: code, text: text}
}

// sentinelFor returns the predefined error with the given code and text, or nil if there is none.
// An error received over the bus wraps the result, so that [Is] finds the predefined error in it.
func sentinelFor(code ErrorCode, text string) error {
	for _, sentinel := range sentinels {
		if sentinel.Code() == code && sentinel.Error() == text {
			return sentinel
		}
	}
	return nil
}
