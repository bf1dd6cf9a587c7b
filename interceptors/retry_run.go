package interceptors

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// retrier is what the calls of one Retry share.
type retrier struct {
	attempts   int
	backoff    backoff
	timeout    time.Duration // of an attempt; 0: none of its own
	codes      []errors.ErrorCode
	budget     *retryBudget
	idempotent func(*registry.Method) bool
}

// retried is something that is done again if it fails.
type retried struct {
	deadline   time.Time // zero: none
	idempotent bool
	life       context.Context //nolint:containedctx // of the stream; nil if it is not one
	attempt    func(ctx context.Context) error
}

// over tells whether nobody wants another attempt.
func (w *retried) over(ctx context.Context) bool {
	return ctx.Err() != nil || w.life != nil && w.life.Err() != nil
}

type attemptKey struct{}

// Attempt returns the number of the attempt that [Retry] makes with ctx, 1 for the first one, and where there is no Retry.
func Attempt(ctx context.Context) int {
	if number, ok := ctx.Value(attemptKey{}).(int); ok {
		return number
	}
	return 1
}

// run makes attempts until one succeeds, or another one is not allowed or of no use.
func (r *retrier) run(ctx context.Context, what retried) error {
	for number := 1; ; number++ {
		err := r.attempt(ctx, what, number)
		if err == nil {
			r.budget.succeeded()
			return nil
		}
		if number == r.attempts || what.over(ctx) || !r.worthwhile(err, what.idempotent) {
			return err
		}
		wait := max(r.backoff.wait(number, err), requestedDelay(err))
		if !what.deadline.IsZero() && time.Until(what.deadline) <= wait || !r.budget.take() {
			return err
		}
		if interrupted := pause(ctx, what.life, wait); interrupted != nil {
			return errors.NewErrorf(interrupted.Code(), "%w while it waited to try again after: %w", interrupted, err)
		}
	}
}

// attempt makes one attempt. The first one has the context as it was given, unless it is to be shorter.
func (r *retrier) attempt(ctx context.Context, what retried, number int) error {
	if number > 1 {
		ctx = context.WithValue(ctx, attemptKey{}, number)
		if !what.deadline.IsZero() {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, what.deadline)
			defer cancel()
		}
	}
	if r.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.timeout)
		defer cancel()
	}
	return what.attempt(ctx)
}

// pause returns nil after the wait, or why it ended before that.
func pause(ctx, life context.Context, wait time.Duration) errors.Error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var closed <-chan struct{}
	if life != nil {
		closed = life.Done()
	}
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errors.FromContext(context.Cause(ctx))
	case <-closed:
		return errors.FromContext(context.Cause(life))
	}
}

// worthwhile tells whether a failed attempt may be made again, and may fare better.
func (r *retrier) worthwhile(err error, idempotent bool) bool {
	if errors.Is(err, bus.ErrClosed) {
		return false
	}
	mayFareBetter := slices.Contains(r.codes, codeOf(err)) || dynamic.IsUnprocessed(err) || retryInfo(err) != nil
	return mayFareBetter && (idempotent || nothingRan(err))
}

// nothingRan tells whether it is certain that no server has run the request.
func nothingRan(err error) bool {
	facts, _ := errors.FactsOf(err)
	switch facts.Reason {
	case errors.ReasonNobodyListening, errors.ReasonAllDeclined, errors.ReasonBelowMinimum:
		return true
	default:
		return facts.Phase == errors.PhasePublish || facts.Phase == errors.PhaseSelection || dynamic.IsUnprocessed(err)
	}
}

// retryInfo returns what a server says of trying again, or nil.
func retryInfo(err error) *errdetails.RetryInfo {
	_, _, details := errors.ToWire(err)
	for _, detail := range details {
		info := &errdetails.RetryInfo{}
		if detail.MessageIs(info) && detail.UnmarshalTo(info) == nil {
			return info
		}
	}
	return nil
}

func requestedDelay(err error) time.Duration {
	return retryInfo(err).GetRetryDelay().AsDuration()
}

// backoff is how long to wait before another attempt.
type backoff struct{ initial, longest time.Duration }

// wait returns a random time up to the ceiling after so many attempts. What fails at once, again and again, gets more than
// half of that.
func (b backoff) wait(attempts int, err error) time.Duration {
	ceiling := min(b.initial, b.longest)
	for range attempts - 1 {
		ceiling += min(ceiling, b.longest-ceiling)
	}
	floor := time.Duration(0)
	if facts, _ := errors.FactsOf(err); facts.Reason == errors.ReasonNobodyListening || facts.Reason == errors.ReasonBusDown {
		floor = ceiling / 2
	}
	return floor + rand.N(ceiling-floor) //nolint:gosec // not a secret
}
