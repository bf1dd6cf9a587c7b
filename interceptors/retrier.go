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

// retrier holds the settings of one Retry interceptor, and the budget shared by all calls that pass
// through it.
type retrier struct {
	maxAttempts int
	backoff     backoff
	// attemptTimeout limits the duration of an attempt, unless the function in decide returns
	// another limit. If it is 0, there is no limit.
	attemptTimeout time.Duration
	codes          []errors.ErrorCode
	budget         *retryBudget
	idempotent     func(*registry.Method) bool
	// trustedServers reports whether WithTrustedServers is used.
	trustedServers bool
	// decide is the function set with WithRetryFunc. It is nil if that option is not used.
	decide func(failed FailedAttempt, decision RetryDecision) RetryDecision
}

func declaredIdempotent(method *registry.Method) bool {
	options, _ := method.Descriptor().Options().(*descriptorpb.MethodOptions)
	return options.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
}

// operation is what Retry may attempt several times: a call, or the sending of a message.
type operation struct {
	method *registry.Method
	// deadline applies to all attempts together. It is zero if the operation has no deadline.
	deadline   time.Time
	idempotent bool
	// streamCtx is the context of the stream. It is nil for calls.
	streamCtx context.Context //nolint:containedctx
	do        func(ctx context.Context) error
}

// canceled reports whether the caller's context or the stream has ended.
func (op *operation) canceled(ctx context.Context) bool {
	return ctx.Err() != nil || op.streamCtx != nil && op.streamCtx.Err() != nil
}

// run runs op and retries it until it succeeds or no further attempt is allowed or worthwhile.
func (r *retrier) run(ctx context.Context, op operation) error {
	timeout := r.attemptTimeout
	for attempt := 1; ; attempt++ {
		err := r.attempt(ctx, op, attempt, timeout)
		if err == nil {
			r.budget.onSuccess()
			return nil
		}
		if attempt == r.maxAttempts || op.canceled(ctx) || errors.Is(err, bus.ErrClosed) {
			return err
		}
		next := r.decision(op, attempt, err)
		if !next.Retry || !op.deadline.IsZero() && time.Until(op.deadline) <= next.Wait || !r.budget.take() {
			return err
		}
		timeout = next.AttemptTimeout
		if waitErr := sleep(ctx, op.streamCtx, next.Wait); waitErr != nil {
			return errors.NewErrorf(waitErr.Code(), "%w while waiting to retry after: %w", waitErr, err)
		}
	}
}

// decision decides whether and how an operation is retried after an attempt has failed with err.
func (r *retrier) decision(op operation, attempt int, err error) RetryDecision {
	safe := r.safe(err, op.idempotent)
	decision := RetryDecision{
		Retry:          safe && r.maySucceed(err),
		Wait:           max(r.backoff.wait(attempt, err), requestedDelay(err)),
		AttemptTimeout: r.attemptTimeout,
	}
	if r.decide != nil {
		decision = r.decide(FailedAttempt{Method: op.method, Err: err, Number: attempt, Safe: safe}, decision)
	}
	return decision
}

// attempt runs op once. The first attempt uses ctx itself unless the attempt has a timeout. Later
// attempts use a context that contains the number of the attempt (see [Attempt]) and ends at the
// deadline of the operation. If timeout is zero or negative, the attempt has no timeout of its own.
func (r *retrier) attempt(ctx context.Context, op operation, attempt int, timeout time.Duration) error {
	if attempt > 1 {
		ctx = context.WithValue(ctx, attemptKey{}, attempt)
		if !op.deadline.IsZero() {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, op.deadline)
			defer cancel()
		}
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	return op.do(ctx)
}

// maySucceed reports whether another attempt may succeed.
func (r *retrier) maySucceed(err error) bool {
	return slices.Contains(r.codes, codeOf(err)) || dynamic.IsUnprocessed(err) || retryInfo(err) != nil
}

// safe reports whether another attempt is safe. This is the case if the method is idempotent or if
// it is certain that no server has run the request. With WithTrustedServers, it is also the case if
// a server reports that it has not run the request.
func (r *retrier) safe(err error, idempotent bool) bool {
	return idempotent || neverStarted(err) || r.trustedServers && dynamic.IsUnprocessed(err)
}

// neverStarted reports whether it is certain that no server ran the request, because the request
// never reached a server or no server was selected. The response of a server does not make that
// certain, because any peer on the bus can forge it.
func neverStarted(err error) bool {
	facts, _ := errors.FactsOf(err)
	switch facts.Reason {
	case errors.ReasonNobodyListening, errors.ReasonMisrouted, errors.ReasonAllDeclined, errors.ReasonBelowMinimum:
		return true
	default:
		return facts.Phase == errors.PhasePublish || facts.Phase == errors.PhaseSelection
	}
}

// retryInfo returns the google.rpc.RetryInfo in the details of err, or nil if there is none.
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

// sleep pauses for the duration wait and then returns nil. If ctx or streamCtx ends first, sleep
// immediately returns the corresponding error. streamCtx is nil for calls.
func sleep(ctx, streamCtx context.Context, wait time.Duration) errors.Error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var closed <-chan struct{}
	if streamCtx != nil {
		closed = streamCtx.Done()
	}
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errors.FromContext(context.Cause(ctx))
	case <-closed:
		return errors.FromContext(context.Cause(streamCtx))
	}
}

func (r *retrier) call(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
	idempotent := r.idempotent(info.Descriptor)
	return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (response proto.Message, err error) {
		err = r.run(ctx, operation{
			method: info.Descriptor, deadline: info.Deadline(ctx, opts...), idempotent: idempotent,
			do: func(ctx context.Context) (err error) {
				response, err = next(ctx, request, opts...)
				return err
			},
		})
		return response, err
	}
}
