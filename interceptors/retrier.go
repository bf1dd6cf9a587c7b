package interceptors

import (
	"context"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// retrier is what the calls of one Retry share.
type retrier struct {
	maxAttempts    int
	backoff        backoff
	attemptTimeout time.Duration // of an attempt; 0: none of its own
	codes          []errors.ErrorCode
	budget         *retryBudget
	idempotent     func(*registry.Method) bool
}

func newRetrier(opts []RetryOption) *retrier {
	r := &retrier{
		maxAttempts: 3,
		backoff:     backoff{50 * time.Millisecond, time.Second},
		codes:       []errors.ErrorCode{errors.Unavailable, errors.DeadlineExceeded},
		budget:      newRetryBudget(100, 0.1),
		idempotent:  declaredIdempotent,
	}
	for _, opt := range opts {
		opt(r)
	}
	return r
}

func declaredIdempotent(method *registry.Method) bool {
	options, _ := method.Descriptor().Options().(*descriptorpb.MethodOptions)
	return options.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
}

// operation is something that is done again if it fails.
type operation struct {
	deadline   time.Time // zero: none
	idempotent bool
	streamCtx  context.Context //nolint:containedctx // of the stream; nil if it is not one
	do         func(ctx context.Context) error
}

// canceled tells whether nobody wants another attempt.
func (w *operation) canceled(ctx context.Context) bool {
	return ctx.Err() != nil || w.streamCtx != nil && w.streamCtx.Err() != nil
}

// run makes attempts until one succeeds, or another one is not allowed or of no use.
func (r *retrier) run(ctx context.Context, op operation) error {
	for number := 1; ; number++ {
		err := r.attempt(ctx, op, number)
		if err == nil {
			r.budget.onSuccess()
			return nil
		}
		if number == r.maxAttempts || op.canceled(ctx) || !r.retryable(err, op.idempotent) {
			return err
		}
		wait := max(r.backoff.wait(number, err), requestedDelay(err))
		if !op.deadline.IsZero() && time.Until(op.deadline) <= wait || !r.budget.take() {
			return err
		}
		if interrupted := sleep(ctx, op.streamCtx, wait); interrupted != nil {
			return errors.NewErrorf(interrupted.Code(), "%w while it waited to try again after: %w", interrupted, err)
		}
	}
}

// attempt makes one attempt. The first one has the context as it was given, unless it is to be shorter.
func (r *retrier) attempt(ctx context.Context, op operation, number int) error {
	if number > 1 {
		ctx = context.WithValue(ctx, attemptKey{}, number)
		if !op.deadline.IsZero() {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, op.deadline)
			defer cancel()
		}
	}
	if r.attemptTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.attemptTimeout)
		defer cancel()
	}
	return op.do(ctx)
}

// retryable tells whether a failed attempt may be made again, and may fare better.
func (r *retrier) retryable(err error, idempotent bool) bool {
	if errors.Is(err, bus.ErrClosed) {
		return false
	}
	mayFareBetter := slices.Contains(r.codes, codeOf(err)) || dynamic.IsUnprocessed(err) || retryInfo(err) != nil
	return mayFareBetter && (idempotent || knownUnprocessed(err))
}

// knownUnprocessed tells whether it is certain that no server has run the request.
func knownUnprocessed(err error) bool {
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

// sleep returns nil after the wait, or why it ended before that.
func sleep(ctx, life context.Context, wait time.Duration) errors.Error {
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

func (r *retrier) call(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
	idempotent := r.idempotent(info.Descriptor)
	return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (response proto.Message, err error) {
		err = r.run(ctx, operation{
			deadline: info.Deadline(ctx, opts...), idempotent: idempotent,
			do: func(ctx context.Context) (err error) {
				response, err = next(ctx, request, opts...)
				return err
			},
		})
		return response, err
	}
}

func (r *retrier) multi(info dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
	return retryMulti{next, r, info}
}

func (r *retrier) stream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	return retryStream{next, r, r.idempotent(info.Descriptor)}
}
