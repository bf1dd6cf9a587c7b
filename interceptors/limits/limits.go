package limits

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
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

// quota lets in as much as there is room for.
type quota interface {
	// tryAcquire returns after what time to try again if there is no room.
	tryAcquire() (retryAfter time.Duration, ok bool)
	// release follows a successful enter.
	release()
}

// semaphore is how many there are inside.
type semaphore struct {
	limit int64
	used  atomic.Int64
}

func (s *semaphore) tryAcquire() (retryAfter time.Duration, ok bool) {
	if s.used.Add(1) <= s.limit || s.limit <= 0 {
		return 0, true
	}
	s.used.Add(-1)
	return 0, false
}

func (s *semaphore) release() { s.used.Add(-1) }

// tokenBucket is how many have come.
type tokenBucket struct{ *rate.Limiter }

func (b tokenBucket) tryAcquire() (retryAfter time.Duration, ok bool) {
	reservation := b.Reserve()
	if retryAfter = reservation.Delay(); retryAfter > 0 {
		reservation.Cancel()
		return retryAfter, false
	}
	return 0, true
}

func (tokenBucket) release() {}

// limiter is what all that one interceptor sees shares.
type limiter struct {
	reason    string
	newQuota  func() quota
	perMethod bool
	shared    quota
	byMethod  sync.Map // of gate by *registry.Method
}

func newLimiter(reason string, newQuota func() quota, opts []Option) dynamic.CommonOption {
	l := &limiter{reason: reason, newQuota: newQuota, shared: newQuota()}
	for _, opt := range opts {
		opt(l)
	}
	return l.interceptors()
}

func (l *limiter) quotaFor(method *registry.Method) quota {
	if !l.perMethod {
		return l.shared
	}
	if known, ok := l.byMethod.Load(method); ok {
		return known.(quota)
	}
	known, _ := l.byMethod.LoadOrStore(method, l.newQuota())
	return known.(quota)
}

// acquire lets something in, which must then leave the gate, or says why not.
func (l *limiter) acquire(method *registry.Method) (quota, error) {
	g := l.quotaFor(method)
	retryAfter, ok := g.tryAcquire()
	if ok {
		return g, nil
	}
	return nil, errors.NewError(errors.ResourceExhausted,
		fmt.Errorf("method %s: %s; try again later", method.FullName(), l.reason),
		&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
}
