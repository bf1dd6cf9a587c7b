package limits

import (
	"golang.org/x/time/rate"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// Option configures [Concurrency] and [Rate].
type Option func(*limiter)

// PerMethod gives each method a limit of its own. The default is one limit for all that the interceptor sees.
func PerMethod() Option { return func(l *limiter) { l.perMethod = true } }

// Concurrency refuses calls and publications beyond so many that are under way, and new streams beyond so many that are
// open; all of them count together. 0 or less is no limit.
//
// The error has the code resource_exhausted and a google.rpc.RetryInfo among its details; that of a server says that nothing
// was run, see [dynamic.IsUnprocessed].
// [dynamic.WithMaxConcurrentRequests] is a limit that servers also take into account when they claim requests.
func Concurrency(limit int, opts ...Option) dynamic.CommonOption {
	return newLimiter("it is in use as often as it may be", func() quota {
		return &semaphore{limit: int64(limit)}
	}, opts)
}

// Rate refuses calls, publications and new streams beyond so many in a second, though burst of them may come at once. 0
// or less in a second is no limit; a burst of 0 or less is 1.
//
// The error has the code resource_exhausted, and among its details a google.rpc.RetryInfo with the time after which there
// is room again; that of a server says that nothing was run, see [dynamic.IsUnprocessed].
func Rate(perSecond float64, burst int, opts ...Option) dynamic.CommonOption {
	limit := rate.Limit(perSecond)
	if perSecond <= 0 {
		limit = rate.Inf
	}
	return newLimiter("it is used more often than it may be", func() quota {
		return tokenBucket{rate.NewLimiter(limit, max(burst, 1))}
	}, opts)
}
