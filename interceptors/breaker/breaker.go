package breaker

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/durationpb"

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

func newBreakers(opts []Option) *breakers {
	b := &breakers{
		ratio: 0.5, minCalls: 20, window: time.Minute, cooldown: 10 * time.Second,
		codes: []errors.ErrorCode{errors.Unavailable, errors.DeadlineExceeded},
		key:   func(info dynamic.RPCInfo) string { return info.Descriptor.FullName() },
	}
	for _, opt := range opts {
		opt(b)
	}
	return b
}

// breakers are those of one New.
type breakers struct {
	ratio    float64
	minCalls uint32
	window   time.Duration
	cooldown time.Duration
	codes    []errors.ErrorCode
	key      func(dynamic.RPCInfo) string
	hook     func(key, from, to string)

	byKey sync.Map // of *breaker by key
}

type breaker = gobreaker.TwoStepCircuitBreaker[any]

func (b *breakers) breakerFor(info dynamic.RPCInfo) *breaker {
	key := b.key(info)
	known, ok := b.byKey.Load(key)
	if !ok {
		known, _ = b.byKey.LoadOrStore(key, gobreaker.NewTwoStepCircuitBreaker[any](b.settings(key)))
	}
	return known.(*breaker)
}

func (b *breakers) settings(key string) gobreaker.Settings {
	settings := gobreaker.Settings{
		Name: key, Interval: b.window, BucketPeriod: b.window / 10, Timeout: b.cooldown,
		ReadyToTrip: func(counts gobreaker.Counts) bool {
			counted := counts.Requests - counts.TotalExclusions
			return counted >= b.minCalls && float64(counts.TotalFailures) >= b.ratio*float64(counted)
		},
		IsSuccessful: func(err error) bool { return !slices.Contains(b.codes, codeOf(err)) },
		IsExcluded:   isExcluded,
	}
	if b.hook != nil {
		settings.OnStateChange = func(key string, from, to gobreaker.State) { b.hook(key, from.String(), to.String()) }
	}
	return settings
}

// isExcluded tells whether an error says nothing about the servers.
func isExcluded(err error) bool {
	facts, _ := errors.FactsOf(err)
	return codeOf(err) == errors.Canceled || facts.Reason == errors.ReasonNobodyListening && len(facts.Topic) > 0
}

func codeOf(err error) errors.ErrorCode {
	code, _, _ := errors.ToWire(err)
	return code
}

// allow returns what must be told how the call ends, or the error of a call that is not to be made.
func (b *breakers) allow(info dynamic.RPCInfo) (done func(error), err error) {
	if done, err = b.breakerFor(info).Allow(); err != nil {
		return nil, b.openError(info)
	}
	return done, nil
}

// openError says when there is a chance again, so that nobody tries in vain before that.
func (b *breakers) openError(info dynamic.RPCInfo) error {
	return errors.NewError(errors.Unavailable,
		fmt.Errorf("method %s is not called for now: %w", info.Descriptor.FullName(), ErrOpen),
		&errdetails.RetryInfo{RetryDelay: durationpb.New(b.cooldown)})
}
