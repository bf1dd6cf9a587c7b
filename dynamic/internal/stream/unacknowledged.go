package stream

import "fmt"

// UnacknowledgedError means that earlier messages of a send window were not acknowledged.
// [Stream.Send] and [Stream.Flush] return it. The public error of the same name explains it.
type UnacknowledgedError struct {
	// Messages contains the numbers of the messages in ascending order. The first call to Send has
	// the number 1. Messages is never empty.
	Messages []uint64
	// Err is the error of the first message that failed.
	Err error
}

// Error implements error.
func (e *UnacknowledgedError) Error() string {
	first, last := e.Messages[0], e.Messages[len(e.Messages)-1]
	if first == last {
		return fmt.Sprintf("message %d of the stream was not acknowledged: %v", first, e.Err)
	}
	return fmt.Sprintf("%d messages of the stream, from %d to %d, were not acknowledged: %v", len(e.Messages), first, last, e.Err)
}

// Unwrap returns Err.
func (e *UnacknowledgedError) Unwrap() error { return e.Err }
