package breaker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// breakers holds the settings that were passed to one call of New, and the breakers created so far.
type breakers struct {
	ratio    float64
	minCalls uint32
	window   time.Duration
	cooldown time.Duration
	codes    []errors.ErrorCode
	key      func(dynamic.RPCInfo) string
	hook     func(key, from, to string)

	// byKey maps the key of each breaker to a *breaker.
	byKey sync.Map
}

func newBreakers(opts []Option) *breakers {
	b := &breakers{
		ratio: 0.5, minCalls: 20, window: time.Minute, cooldown: 10 * time.Second,
		codes: []errors.ErrorCode{errors.Unavailable, errors.DeadlineExceeded},
		key:   func(info dynamic.RPCInfo) string { return info.Descriptor.FullName() },
	}
	for _, opt := range opts {
		if opt != nil {
			opt(b)
		}
	}
	return b
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

// isExcluded reports whether err says nothing about the health of the servers. A call that ends
// with such an error is not counted.
func isExcluded(err error) bool {
	facts, _ := errors.FactsOf(err)
	return codeOf(err) == errors.Canceled || facts.Reason == errors.ReasonNobodyListening && len(facts.Topic) > 0
}

func codeOf(err error) errors.ErrorCode {
	code, _, _ := errors.ToWire(err)
	return code
}

// allow admits a call and returns the function done. When the call has ended, done must be called
// exactly once, with the error of the call or with nil. If the breaker rejects the call, allow
// returns an error.
func (b *breakers) allow(info dynamic.RPCInfo) (done func(error), err error) {
	if done, err = b.breakerFor(info).Allow(); err != nil {
		return nil, b.openError(info)
	}
	return done, nil
}

// openError returns the error of a rejected call. The RetryInfo in its details asks callers not to
// retry before the cooldown ends.
func (b *breakers) openError(info dynamic.RPCInfo) error {
	return errors.NewError(errors.Unavailable,
		fmt.Errorf("method %s not called: %w", info.Descriptor.FullName(), ErrOpen),
		&errdetails.RetryInfo{RetryDelay: durationpb.New(b.cooldown)})
}

// errAborted is the outcome of a call that panicked. It has the code Canceled, so that the call is
// not counted.
var errAborted = errors.NewErrorf(errors.Canceled, "call did not return")

func (b *breakers) call(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
	return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (proto.Message, error) {
		done, err := b.allow(info)
		if err != nil {
			return nil, err
		}
		outcome := error(errAborted)
		defer func() { done(outcome) }()
		response, err := next(ctx, request, opts...)
		outcome = err
		return response, err
	}
}

func (b *breakers) multi(info dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
	return &breakerMulti{ClientMultiRPCHandler: next, breakers: b, info: info}
}

func (b *breakers) stream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	breaker := b.breakerFor(info)
	if breaker.State() == gobreaker.StateOpen {
		// Closing the handler rejects the stream.
		_ = next.Close(b.openError(info))
		return next
	}
	return &breakerStream{StreamHandler: next, breaker: breaker}
}
