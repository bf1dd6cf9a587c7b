package limits

import (
	"golang.org/x/time/rate"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// Option configures [Concurrency] and [Rate].
type Option func(*limiter)

// PerMethod applies the limit to each method separately. By default, one limit applies to all
// methods together.
func PerMethod() Option { return func(l *limiter) { l.perMethod = true } }

// Concurrency limits the total number of calls, publications and open streams in progress, and
// rejects any that exceed the limit. If limit is zero or negative, there is no limit.
//
// The error of a rejected call has the code resource_exhausted, and its details include a
// google.rpc.RetryInfo. If a server rejects a single or multi call, its error also indicates that
// the request was not run (see [dynamic.IsUnprocessed]). [dynamic.WithMaxConcurrentRequests] sets a
// limit that servers also take into account when they claim requests.
func Concurrency(limit int, opts ...Option) dynamic.Option {
	return newLimiter("concurrency limit reached", func() quota {
		return &semaphore{limit: int64(limit)}
	}, opts)
}

// Rate limits the total number of calls, publications and new streams per second, and rejects any
// that exceed the limit. burst is the largest number of calls, publications and streams that may
// start at the same time. If burst is zero or negative, 1 is used. If perSecond is zero or
// negative, there is no limit.
//
// The error of a rejected call has the code resource_exhausted, and its details include a
// google.rpc.RetryInfo with the time until the next call is admitted. If a server rejects a single
// or multi call, its error also indicates that the request was not run (see
// [dynamic.IsUnprocessed]).
func Rate(perSecond float64, burst int, opts ...Option) dynamic.Option {
	limit := rate.Limit(perSecond)
	if perSecond <= 0 {
		limit = rate.Inf
	}
	return newLimiter("rate limit exceeded", func() quota {
		return tokenBucket{rate.NewLimiter(limit, max(burst, 1))}
	}, opts)
}
