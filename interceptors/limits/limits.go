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
	return newLimiter("it is in use as often as it may be", func() gate {
		return &slots{limit: int64(limit)}
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
	return newLimiter("it is used more often than it may be", func() gate {
		return bucket{rate.NewLimiter(limit, max(burst, 1))}
	}, opts)
}

// gate lets in as much as there is room for.
type gate interface {
	// enter returns after what time to try again if there is no room.
	enter() (retryAfter time.Duration, ok bool)
	// leave follows a successful enter.
	leave()
}

// slots is how many there are inside.
type slots struct {
	limit int64
	used  atomic.Int64
}

func (s *slots) enter() (retryAfter time.Duration, ok bool) {
	if s.used.Add(1) <= s.limit || s.limit <= 0 {
		return 0, true
	}
	s.used.Add(-1)
	return 0, false
}

func (s *slots) leave() { s.used.Add(-1) }

// bucket is how many have come.
type bucket struct{ *rate.Limiter }

func (b bucket) enter() (retryAfter time.Duration, ok bool) {
	reservation := b.Reserve()
	if retryAfter = reservation.Delay(); retryAfter > 0 {
		reservation.Cancel()
		return retryAfter, false
	}
	return 0, true
}

func (bucket) leave() {}

// limiter is what all that one interceptor sees shares.
type limiter struct {
	reason    string
	newGate   func() gate
	perMethod bool
	all       gate
	gates     sync.Map // of gate by *registry.Method
}

func newLimiter(reason string, newGate func() gate, opts []Option) dynamic.CommonOption {
	l := &limiter{reason: reason, newGate: newGate, all: newGate()}
	for _, opt := range opts {
		opt(l)
	}
	return l.interceptors()
}

func (l *limiter) gate(method *registry.Method) gate {
	if !l.perMethod {
		return l.all
	}
	if known, ok := l.gates.Load(method); ok {
		return known.(gate)
	}
	known, _ := l.gates.LoadOrStore(method, l.newGate())
	return known.(gate)
}

// enter lets something in, which must then leave the gate, or says why not.
func (l *limiter) enter(method *registry.Method) (gate, error) {
	g := l.gate(method)
	retryAfter, ok := g.enter()
	if ok {
		return g, nil
	}
	return nil, errors.NewError(errors.ResourceExhausted,
		fmt.Errorf("method %s: %s; try again later", method.FullName(), l.reason),
		&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
}
