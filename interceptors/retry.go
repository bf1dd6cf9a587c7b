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

// WithAttempts sets how often a call is made at most, the first time included. The default, also for 0 or less, is 3.
func WithAttempts(attempts int) RetryOption {
	return func(r *retrier) {
		if attempts > 0 {
			r.maxAttempts = attempts
		}
	}
}

// WithBackoff sets how long to wait between two attempts: a random time up to a ceiling, which is initial after the first
// attempt, doubles with each one, and is never more than longest. The defaults, also for 0 or less, are 50 ms and 1 s.
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

// WithAttemptTimeout bounds each attempt. The default, also for 0 or less, is that an attempt may take what time the call
// has left, so that none is left after one that was not answered.
func WithAttemptTimeout(timeout time.Duration) RetryOption {
	return func(r *retrier) { r.attemptTimeout = max(timeout, 0) }
}

// WithRetryCodes sets which codes are worth another attempt. The default is unavailable and deadline_exceeded.
func WithRetryCodes(codes ...errors.ErrorCode) RetryOption {
	return func(r *retrier) { r.codes = slices.Clone(codes) }
}

// WithRetryBudget bounds the retries of all calls together, so that they do not keep down a system that is overloaded: the
// budget is so many retries at first and at most, each retry takes one, and each success gives ratio of one back. When it
// is used up, calls are made once. The defaults are 100 and 0.1. With 0 tokens or less there is no bound.
func WithRetryBudget(tokens int, ratio float64) RetryOption {
	return func(r *retrier) { r.budget = newRetryBudget(tokens, ratio) }
}

// WithIdempotent sets which methods do no harm if they run twice. The default is what a method's option idempotency_level
// says, also for nil: NO_SIDE_EFFECTS and IDEMPOTENT do not.
func WithIdempotent(idempotent func(method *registry.Method) bool) RetryOption {
	return func(r *retrier) {
		if idempotent != nil {
			r.idempotent = idempotent
		}
	}
}

// Retry makes calls again that have failed: single calls, the sending of multi calls, and messages sent on streams, both
// those of a conn and those of a server.
//
// A failure is worth another attempt if it has one of the codes of [WithRetryCodes], or a google.rpc.RetryInfo among its
// details, whose delay counts, or if its server had no room for the request.
//
// It must also be certain that no server has run the request: because nobody listens, none was selected, or the bus did not
// take it, see [errors.FactsOf], or because its server says so, see [dynamic.IsUnprocessed]. Where that is not certain only
// idempotent methods are tried again, see [WithIdempotent].
//
// There is a random wait between two attempts, see [WithBackoff], of at least half its ceiling if the failure was known at
// once. A call does not go on beyond its deadline or timeout: if the next wait would end after it, the call fails with
// its last error. Each attempt is a request of its own, whose number interceptors inside of this one get from [Attempt].
//
// Messages of a stream that has a window are not sent again: they fail when others have been sent after them. The opening of
// a stream, and the publication of updates, are not tried again.
func Retry(opts ...RetryOption) dynamic.CommonOption {
	r := newRetrier(opts)
	return dynamic.CommonOptions(dynamic.WithServerStreamInterceptors(r.stream), dynamic.ConnOptions(
		dynamic.WithClientRPCInterceptors(r.call),
		dynamic.WithClientMultiRPCInterceptors(r.multi),
		dynamic.WithClientStreamInterceptors(r.stream),
	))
}

type attemptKey struct{}

// Attempt returns the number of the attempt that [Retry] makes with ctx, 1 for the first one, and where there is no Retry.
func Attempt(ctx context.Context) int {
	if number, ok := ctx.Value(attemptKey{}).(int); ok {
		return number
	}
	return 1
}
