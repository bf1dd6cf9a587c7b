package breaker

import (
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// ErrOpen is the error of calls that are rejected by an open breaker. Use errors.Is to check for
// it.
var ErrOpen = errors.NewErrorf(errors.Unavailable, "circuit breaker is open")

// Option configures [New].
type Option func(*breakers)

// WithThreshold sets the condition under which a breaker opens. calls is the minimum number of
// calls in the sliding window (see [WithWindow]). ratio is the minimum fraction of these calls that
// must have failed. The defaults are a ratio of 0.5 and 20 calls, which are also used for zero or
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
// minute, which is also used if window is zero or negative.
func WithWindow(window time.Duration) Option {
	return func(b *breakers) {
		if window > 0 {
			b.window = window
		}
	}
}

// WithCooldown sets how long a breaker stays open before it allows one trial call. If cooldown is
// zero or negative, the default of 10 seconds is used.
func WithCooldown(cooldown time.Duration) Option {
	return func(b *breakers) {
		if cooldown > 0 {
			b.cooldown = cooldown
		}
	}
}

// WithCodes sets the error codes that count as failures. The defaults are unavailable and
// deadline_exceeded, which indicate a problem with the system rather than with a single request.
func WithCodes(codes ...errors.ErrorCode) Option {
	return func(b *breakers) { b.codes = slices.Clone(codes) }
}

// WithKey sets a function that returns a key for each call. Calls with the same key share one
// breaker. For example, the key may combine a method and its topic. Breakers are never removed, so
// the number of different keys must be bounded. The default key is the full name of the method,
// which is also used if the function is nil.
func WithKey(key func(info dynamic.RPCInfo) string) Option {
	return func(b *breakers) {
		if key != nil {
			b.key = key
		}
	}
}

// WithStateHook sets a function that is called when the state of a breaker changes. The states are
// "closed", "open" and "half-open". The hook runs while the breaker is locked, so it must not block
// and must not make calls.
func WithStateHook(hook func(key, from, to string)) Option {
	return func(b *breakers) { b.hook = hook }
}

// New returns an option that adds a circuit breaker for each method of a conn. A breaker opens when
// too many calls fail (see [WithThreshold]). While it is open, calls fail immediately with
// [ErrOpen], which has the code unavailable. The error details include a google.rpc.RetryInfo that
// contains the cooldown. After the cooldown, the breaker is half-open and allows one trial call. If
// the trial call succeeds, the breaker closes; otherwise it opens again.
//
// A breaker counts single calls, multi calls and the opening of streams. A multi call counts as
// failed only because of an error that concerns the call as a whole, for example if its request
// cannot be sent. Errors from single servers do not matter. Canceled calls are not counted. Calls
// to a topic on which no server is listening are not counted either, because they do not indicate a
// problem with other topics.
func New(opts ...Option) dynamic.ConnOption {
	b := newBreakers(opts)
	return dynamic.WithInterceptors(dynamic.Interceptors{
		ClientRPC:      b.call,
		ClientMultiRPC: b.multi,
		ClientStream:   b.stream,
	})
}
