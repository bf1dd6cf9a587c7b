package breaker

import (
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// ErrOpen is the error of calls that an open breaker rejected. Test for it with errors.Is.
var ErrOpen = errors.NewErrorf(errors.Unavailable, "circuit breaker is open")

// Option configures [New].
type Option func(*breakers)

// WithThreshold sets when a breaker opens: the window contains at least the given number of calls,
// and at least the given ratio of them failed. The defaults are 0.5 and 20, also for zero or
// negative values.
func WithThreshold(ratio float64, calls int) Option {
	return func(b *breakers) {
		if ratio > 0 {
			b.ratio = ratio
		}
		if calls > 0 {
			b.minCalls = uint32(min(calls, 1<<30))
		}
	}
}

// WithWindow sets the length of the sliding window in which calls are counted. The default is one
// minute, also for zero or negative values.
func WithWindow(window time.Duration) Option {
	return func(b *breakers) {
		if window > 0 {
			b.window = window
		}
	}
}

// WithCooldown sets how long a breaker stays open before it allows one trial call. The default is
// 10 seconds, also for zero or negative values.
func WithCooldown(cooldown time.Duration) Option {
	return func(b *breakers) {
		if cooldown > 0 {
			b.cooldown = cooldown
		}
	}
}

// WithCodes sets the codes that count as failures. The default is unavailable and
// deadline_exceeded, which indicate trouble in the system rather than in one request.
func WithCodes(codes ...errors.ErrorCode) Option {
	return func(b *breakers) { b.codes = slices.Clone(codes) }
}

// WithKey sets a function that assigns calls to breakers: calls with the same key share one
// breaker. A key might combine a method and its topic. Breakers are never removed, so the number of
// keys must be bounded. The default, also for nil, is the full name of the method.
func WithKey(key func(info dynamic.RPCInfo) string) Option {
	return func(b *breakers) {
		if key != nil {
			b.key = key
		}
	}
}

// WithStateHook sets a function that is called when a breaker changes its state. The states are
// "closed", "open" and "half-open". The hook runs while the breaker is locked: it must not block
// and must not make calls.
func WithStateHook(hook func(key, from, to string)) Option {
	return func(b *breakers) { b.hook = hook }
}

// New returns an option that adds a circuit breaker for each method of a conn. A breaker opens when
// too many calls fail, see [WithThreshold]. While it is open, calls fail at once with [ErrOpen],
// which has the code unavailable; the details include a google.rpc.RetryInfo with the cooldown.
// After the cooldown the breaker is half-open and allows one trial call: a success closes the
// breaker, a failure opens it again.
//
// The following count: single calls; multi calls, which fail if their request cannot be sent or no
// server listens, regardless of the responses; and the opening of streams. Canceled calls do not
// count. Neither do calls to a topic without servers, because they say nothing about other topics.
func New(opts ...Option) dynamic.ConnOption {
	b := newBreakers(opts)
	return dynamic.ConnOptions(
		dynamic.WithClientRPCInterceptors(b.call),
		dynamic.WithClientMultiRPCInterceptors(b.multi),
		dynamic.WithClientStreamInterceptors(b.stream),
	)
}
