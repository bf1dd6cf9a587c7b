package interceptors

import (
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// RetryOption configures [Retry].
type RetryOption func(*retrier)

// WithAttempts sets the maximum number of attempts, including the first one. The default is 3,
// which is also used if attempts is zero or negative.
func WithAttempts(attempts int) RetryOption {
	return func(r *retrier) {
		if attempts > 0 {
			r.maxAttempts = attempts
		}
	}
}

// WithBackoff sets the delay between attempts. The delay is a random time between 0 and a ceiling.
// The ceiling starts at the value of initial and doubles after each retry, up to maximum. The
// defaults are 50 ms and 1 s, which are also used for zero or negative values.
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

// WithAttemptTimeout limits the duration of each attempt. If timeout is zero or negative, which is
// the default, an attempt may use all the time that remains for the call. In that case, an attempt
// that receives no response leaves no time for a retry.
func WithAttemptTimeout(timeout time.Duration) RetryOption {
	return func(r *retrier) { r.attemptTimeout = max(timeout, 0) }
}

// WithRetryCodes sets the codes of the errors after which a call may be retried. The defaults are
// unavailable and deadline_exceeded.
func WithRetryCodes(codes ...errors.ErrorCode) RetryOption {
	return func(r *retrier) { r.codes = slices.Clone(codes) }
}

// WithRetryBudget limits the total number of retries across all calls, so that retries do not make
// an overload worse. The budget is a token bucket, as in gRPC's retry throttling. tokens is the
// capacity of the bucket, which is full at first. Each retry removes one token, and each successful
// call adds ratio tokens. While the bucket is empty, failed calls are not retried. The defaults are
// 100 tokens and a ratio of 0.1. If tokens is zero or negative, the number of retries is not
// limited.
func WithRetryBudget(tokens int, ratio float64) RetryOption {
	return func(r *retrier) { r.budget = newRetryBudget(tokens, ratio) }
}

// WithIdempotent sets a function that reports whether a method can safely be run twice. By default,
// or if the function is nil, a method is idempotent if its option idempotency_level is
// NO_SIDE_EFFECTS or IDEMPOTENT.
func WithIdempotent(idempotent func(method *registry.Method) bool) RetryOption {
	return func(r *retrier) {
		if idempotent != nil {
			r.idempotent = idempotent
		}
	}
}

// WithTrustedServers makes Retry trust a server that reports that it did not run a request (see
// [dynamic.IsUnprocessed]), for example because it has reached a limit. Retry then repeats the call
// even if the method is not idempotent. Without this option, Retry repeats such a call only if the
// method is idempotent.
//
// Anyone who may publish on the response channels of clients can forge such a report while a server
// runs the request. Retry then sends the request again. Use this option only if the broker permits
// only servers to publish on these channels. docs/security.md has rules for brokers that ensure
// this.
func WithTrustedServers() RetryOption {
	return func(r *retrier) { r.trustedServers = true }
}

// WithRetryFunc sets a function that decides whether and how to retry after an attempt has failed.
// The argument named decision is what [Retry] would do without the function, which may return it
// unchanged. decide must be safe for concurrent use.
//
// The function can only decide about attempts that are still possible. It is not called after the
// last attempt (see [WithAttempts]), when the context of the call has ended, or when the bus is
// closed. Whatever it returns, the deadline of the call and the retry budget apply. If it retries
// an attempt whose field Safe is false, the request may be run twice.
func WithRetryFunc(decide func(failed FailedAttempt, decision RetryDecision) RetryDecision) RetryOption {
	return func(r *retrier) { r.decide = decide }
}

// Retry retries single calls that fail. For multi calls and stream messages, it retries only the
// sending of the request or message. Stream messages are retried on both clients and servers.
//
// A failed attempt is retried if all of the following conditions are met:
//
//   - A retry may succeed. This is the case if the error has one of the codes set by
//     [WithRetryCodes] or if its details include a google.rpc.RetryInfo. It is also the case if the
//     server rejected the request before running it (see [dynamic.IsUnprocessed]). Calls that fail
//     because the bus is closed are never retried.
//   - A retry is safe. This is the case if the method is idempotent (see [WithIdempotent]) or if it
//     is certain that no server ran the request. This is certain if no server was listening, if no
//     server was selected, or if the bus did not accept the request (see [errors.FactsOf]). A
//     server's report that it did not run the request counts only if [WithTrustedServers] is used.
//   - The maximum number of attempts has not been reached (see [WithAttempts]), and the retry
//     budget is not empty (see [WithRetryBudget]).
//   - The next delay ends before the deadline or timeout of the call.
//
// If one of these conditions is not met, the call fails with the error of the last attempt.
// [WithRetryFunc] sets a function that can override the first two conditions.
//
// The delay between attempts is random (see [WithBackoff]). If no server was listening or the bus
// was down, the delay is at least half of its ceiling. If the error details include a RetryInfo,
// the delay is at least as long as the RetryInfo specifies. Each attempt is a separate request.
// Inner interceptors can get the number of the attempt from [Attempt].
//
// A server that is killed while it handles a call sends no error. The attempt then lasts until the
// call times out, which leaves no time for a retry. Set [WithAttemptTimeout] so that idempotent
// calls to a killed server are retried before they time out.
//
// Retry does not retry opening a stream or publishing an update. It also does not retry messages on
// streams with a send window (see [dynamic.WithStreamWindow]), because later messages may already
// have been sent.
func Retry(opts ...RetryOption) dynamic.Option {
	r := newRetrier(opts)
	return dynamic.WithInterceptors(dynamic.Interceptors{
		ServerStream:   r.stream,
		ClientRPC:      r.call,
		ClientMultiRPC: r.multi,
		ClientStream:   r.stream,
	})
}

func newRetrier(opts []RetryOption) *retrier {
	r := &retrier{
		maxAttempts: 3,
		backoff:     backoff{50 * time.Millisecond, time.Second},
		codes:       []errors.ErrorCode{errors.Unavailable, errors.DeadlineExceeded},
		budget:      newRetryBudget(100, 0.1),
		idempotent:  declaredIdempotent,
	}
	for _, opt := range opts {
		if opt != nil {
			opt(r)
		}
	}
	return r
}
