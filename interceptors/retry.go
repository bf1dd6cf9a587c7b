package interceptors

import (
	"context"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// RetryOption configures [Retry].
type RetryOption func(*retrier)

// WithAttempts sets the maximum number of attempts, including the first. The default is 3, also for
// zero or negative values.
func WithAttempts(attempts int) RetryOption {
	return func(r *retrier) {
		if attempts > 0 {
			r.maxAttempts = attempts
		}
	}
}

// WithBackoff sets the delay between attempts. The delay is a random time between 0 and a ceiling;
// the ceiling is initial after the first attempt, doubles with each attempt and never exceeds
// maximum. The defaults are 50 ms and 1 s, also for zero or negative values.
func WithBackoff(initial, maximum time.Duration) RetryOption {
	return func(r *retrier) {
		if initial > 0 {
			r.backoff.initial = initial
		}
		if maximum > 0 {
			r.backoff.maximum = maximum
		}
	}
}

// WithAttemptTimeout limits the duration of each attempt. By default, and for zero or negative
// values, an attempt may use all the time that is left for the call, so an attempt that gets no
// answer leaves no time for a retry.
func WithAttemptTimeout(timeout time.Duration) RetryOption {
	return func(r *retrier) { r.attemptTimeout = max(timeout, 0) }
}

// WithRetryCodes sets the codes that may be retried. The default is unavailable and
// deadline_exceeded.
func WithRetryCodes(codes ...errors.ErrorCode) RetryOption {
	return func(r *retrier) { r.codes = slices.Clone(codes) }
}

// WithRetryBudget limits the retries of all calls together, so that retries do not add to an
// overload. The budget is a token bucket as in gRPC's retry throttling: it starts full with the
// given number of tokens, each retry takes one token, and each successful call returns ratio
// tokens. Failed calls are not retried while the bucket is empty. The defaults are 100 and 0.1.
// Zero or negative tokens disable the budget.
func WithRetryBudget(tokens int, ratio float64) RetryOption {
	return func(r *retrier) { r.budget = newRetryBudget(tokens, ratio) }
}

// WithIdempotent sets a function that reports whether a method may safely run twice. By default,
// and for nil, a method is idempotent if its option idempotency_level is NO_SIDE_EFFECTS or
// IDEMPOTENT.
func WithIdempotent(idempotent func(method *registry.Method) bool) RetryOption {
	return func(r *retrier) {
		if idempotent != nil {
			r.idempotent = idempotent
		}
	}
}

// Retry retries failed calls: single calls, the sending of multi calls, and messages sent on
// streams by clients and servers.
//
// A failed attempt is retried if all of the following hold:
//
//   - It may succeed later: the error has one of the codes of [WithRetryCodes], its details include
//     a google.rpc.RetryInfo, whose delay is then the minimum wait, or the server rejected the
//     request before running it, see [dynamic.IsUnprocessed]. Errors of a closed bus are never
//     retried.
//   - It is safe: the method is idempotent, see [WithIdempotent], or it is certain that no server
//     ran the request, because no server listens, none was selected, the bus did not accept the
//     request (see [errors.FactsOf]) or the server reported that it did not run the request.
//   - There are attempts left, see [WithAttempts], and the retry budget is not empty, see
//     [WithRetryBudget].
//   - The next delay ends before the deadline or timeout of the call. Otherwise the call fails with
//     the last error.
//
// The delay between attempts is random, see [WithBackoff]. It is at least half of its ceiling for
// errors that are known at once: no server listens, or the bus is down. Each attempt is a separate
// request; inner interceptors get its number from [Attempt].
//
// A server that is killed while it handles a call sends no error, so the attempt lasts until the
// timeout of the call, and no time is left for a retry. Set [WithAttemptTimeout] to have idempotent
// calls to a killed server retried before the timeout of the call.
//
// Retry does not retry the opening of streams, the publication of updates, or messages on streams
// with a window, because later messages may already have been sent.
func Retry(opts ...RetryOption) dynamic.CommonOption {
	r := newRetrier(opts)
	return dynamic.CommonOptions(dynamic.WithServerStreamInterceptors(r.stream), dynamic.ConnOptions(
		dynamic.WithClientRPCInterceptors(r.call),
		dynamic.WithClientMultiRPCInterceptors(r.multi),
		dynamic.WithClientStreamInterceptors(r.stream),
	))
}

type attemptKey struct{}

// Attempt returns the number of the current attempt of [Retry], starting at 1. It returns 1 for a
// context that no Retry interceptor created.
func Attempt(ctx context.Context) int {
	if number, ok := ctx.Value(attemptKey{}).(int); ok {
		return number
	}
	return 1
}
