package pipeline

import (
	"bufio"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Command is a command that can be sent through a [Pipeline]. resp.ReadReply must be able to read
// its reply.
type Command interface {
	// Size returns the approximate size of the command in bytes.
	Size() int
	// Write writes the command to w in RESP, the Redis protocol. It must not keep w.
	Write(w *bufio.Writer)
	// Complete is called with the reply from Redis, or with an error if there is no reply. The
	// pipeline calls Complete exactly once for each command that it has accepted, on the goroutine
	// of [Pipeline.Run]. If the server could not be reached, the error is a [DialError]. Complete
	// must not block.
	Complete(reply int64, err error)
}

// ErrFull is returned by [Pipeline.Enqueue] if the maximum number of commands is already waiting.
var ErrFull = errors.NewErrorf(errors.ResourceExhausted,
	"redis bus: too many commands wait for a Redis server that does not answer fast enough")

// DialError is the error of a command that was never sent because its server could not be reached.
type DialError struct{ error }

// Unwrap returns the error of the attempt to connect.
func (e DialError) Unwrap() error { return e.error }
