package limits

import (
	"golang.org/x/time/rate"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// Option configures [Concurrency] and [Rate].
type Option func(*limiter)

// PerMethod applies the limit to each method separately. By default one limit applies to all
// methods together.
func PerMethod() Option { return func(l *limiter) { l.perMethod = true } }

// Concurrency limits the number of calls, publications and open streams in progress, counted
// together, and rejects any more. A zero or negative limit means no limit.
//
// The error has the code resource_exhausted, and its details include a google.rpc.RetryInfo. An
// error of a server also states that the request was not run, see [dynamic.IsUnprocessed].
// [dynamic.WithMaxConcurrentRequests] is a limit that servers also consider when they claim
// requests.
func Concurrency(limit int, opts ...Option) dynamic.CommonOption {
	return newLimiter("concurrency limit reached", func() quota {
		return &semaphore{limit: int64(limit)}
	}, opts)
}

// Rate limits the calls, publications and new streams per second, counted together, and rejects any
// more. Up to burst of them may come at once; a zero or negative burst means 1. A zero or negative
// rate means no limit.
//
// The error has the code resource_exhausted, and its details include a google.rpc.RetryInfo with
// the time until the next call is admitted. An error of a server also states that the request was
// not run, see [dynamic.IsUnprocessed].
func Rate(perSecond float64, burst int, opts ...Option) dynamic.CommonOption {
	limit := rate.Limit(perSecond)
	if perSecond <= 0 {
		limit = rate.Inf
	}
	return newLimiter("rate limit exceeded", func() quota {
		return tokenBucket{rate.NewLimiter(limit, max(burst, 1))}
	}, opts)
}
