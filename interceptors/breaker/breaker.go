package breaker

import (
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// ErrOpen is found by errors.Is in the errors of calls that were not made.
var ErrOpen = errors.NewErrorf(errors.Unavailable, "the circuit breaker is open")

// Option configures [New].
type Option func(*breakers)

// WithThreshold sets when a breaker opens: if that part of the calls fails, in the window, and there are as many, at least. The
// defaults, also for 0 or less, are 0.5 and 20.
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

// WithWindow sets for how long calls count. The default, also for 0 or less, is one minute.
func WithWindow(window time.Duration) Option {
	return func(b *breakers) {
		if window > 0 {
			b.window = window
		}
	}
}

// WithCooldown sets for how long a breaker stays open before it lets a call through to try. The default, also for 0 or
// less, is 10 seconds.
func WithCooldown(cooldown time.Duration) Option {
	return func(b *breakers) {
		if cooldown > 0 {
			b.cooldown = cooldown
		}
	}
}

// WithCodes sets which codes are failures. The default is unavailable and deadline_exceeded: those of a system that is in
// trouble, and not of one request.
func WithCodes(codes ...errors.ErrorCode) Option {
	return func(b *breakers) { b.codes = slices.Clone(codes) }
}

// WithKey sets what has a breaker of its own: that for which key returns the same, such as a method and its topic. There
// should not be too many; none is ever forgotten. The default, also for nil, is the method's full name.
func WithKey(key func(info dynamic.RPCInfo) string) Option {
	return func(b *breakers) {
		if key != nil {
			b.key = key
		}
	}
}

// WithStateHook sets a function that is told when a breaker changes its state: "closed", "open" or "half-open". It must
// not block, and make no calls.
func WithStateHook(hook func(key, from, to string)) Option {
	return func(b *breakers) { b.hook = hook }
}

// New makes a circuit breaker for each method. When too many of its calls have failed, it opens: for a while, calls are
// not made, and fail at once with the code unavailable, see [ErrOpen], and a google.rpc.RetryInfo with the cooldown among
// the details. After that it lets one through to try: if that succeeds all is as before, otherwise it opens again.
//
// It counts single calls; multi calls, which fail if their request cannot be sent or nobody listens, whatever servers
// answer; and the opening of streams. Calls that were canceled do not count, and neither do those to topics to which nobody
// listens, which say nothing about other topics.
func New(opts ...Option) dynamic.ConnOption {
	b := newBreakers(opts)
	return dynamic.ConnOptions(
		dynamic.WithClientRPCInterceptors(b.call),
		dynamic.WithClientMultiRPCInterceptors(b.multi),
		dynamic.WithClientStreamInterceptors(b.stream),
	)
}
