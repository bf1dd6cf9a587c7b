package interceptors

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// FailedAttempt describes a failed attempt to make a call or to send a stream message.
type FailedAttempt struct {
	// Method is the method of the call or stream.
	Method *registry.Method
	// Err is the error of the attempt.
	Err error
	// Number is the number of the attempt, starting at 1.
	Number int
	// Safe reports whether a retry is safe, as described for [Retry]. If Safe is false, a server
	// may have run the request, and the method is not known to be idempotent.
	Safe bool
}

// RetryDecision says whether and how a call or stream message is retried after an attempt has
// failed.
type RetryDecision struct {
	// Retry reports whether there is another attempt.
	Retry bool
	// Wait is the delay before the next attempt. If it is zero or negative, the next attempt starts
	// immediately.
	Wait time.Duration
	// AttemptTimeout limits the duration of the next attempt. If it is zero or negative, there is
	// no such limit.
	AttemptTimeout time.Duration
}

type attemptKey struct{}

// Attempt returns the number of the current attempt made by [Retry], starting at 1. It returns 1 if
// ctx does not come from a Retry interceptor.
func Attempt(ctx context.Context) int {
	if ctx == nil {
		return 1
	}
	if number, ok := ctx.Value(attemptKey{}).(int); ok {
		return number
	}
	return 1
}
