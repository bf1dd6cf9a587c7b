package errors

// The predefined errors. Their codes and texts are those of psrpc; test for one with [Is], which holds also
// for one that came over the bus, and for one that has [CallFacts].
var (
	// ErrRequestCanceled means that the context of the call was canceled.
	ErrRequestCanceled = newSentinel(Canceled, "request canceled")
	// ErrRequestTimedOut means that no answer, or no acknowledgement of a stream message, came in time.
	ErrRequestTimedOut = newSentinel(DeadlineExceeded, "request timed out")
	// ErrNoResponse means that no server offered to take the request.
	ErrNoResponse = newSentinel(Unavailable, "no response from servers")
	// ErrUnimplemented means that the server has no handler for the method.
	ErrUnimplemented = newSentinel(Unimplemented, "method is not implemented")
	// ErrStreamEOF means that the server that held the stream was shut down.
	ErrStreamEOF = newSentinel(Unavailable, "EOF")
	// ErrClientClosed means that the client was closed before or during the call.
	ErrClientClosed = newSentinel(Canceled, "client is closed")
	// ErrServerClosed means that the server was closed.
	ErrServerClosed = newSentinel(Canceled, "server is closed")
	// ErrStreamClosed means that the stream was closed without an error.
	ErrStreamClosed = newSentinel(Canceled, "stream closed")
	// ErrSlowConsumer means that a stream message was dropped, for its receiver has too many unread ones.
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

// sentinelFor returns the predefined error with this code and text, or nil. Only for what comes from the
// bus, where nothing but code and text is left of an error.
func sentinelFor(code ErrorCode, text string) error {
	for _, sentinel := range sentinels {
		if sentinel.Code() == code && sentinel.Error() == text {
			return sentinel
		}
	}
	return nil
}
