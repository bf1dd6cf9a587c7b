package interceptors

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/internal/testservice"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// fakeCall is a handler that fails a number of times before it succeeds. It records its calls.
type fakeCall struct {
	err      error
	failures int
	takes    time.Duration
	started  []time.Time
	numbers  []int
}

func (a *fakeCall) try(ctx context.Context) error {
	a.started = append(a.started, time.Now())
	a.numbers = append(a.numbers, Attempt(ctx))
	if a.takes > 0 {
		select {
		case <-time.After(a.takes):
		case <-ctx.Done():
			return errors.FromContext(ctx.Err())
		}
	}
	if len(a.started) <= a.failures {
		return a.err
	}
	return nil
}

func (a *fakeCall) call(ctx context.Context, _ proto.Message, _ ...dynamic.RequestOption) (proto.Message, error) {
	if err := a.try(ctx); err != nil {
		return nil, err
	}
	return say("done"), nil
}

// waits returns the delays between the attempts. The tests use virtual time, in which an attempt
// takes no time unless fakeCall.takes is set.
func (a *fakeCall) waits() (waits []time.Duration) {
	for i := range len(a.started) - 1 {
		waits = append(waits, a.started[i+1].Sub(a.started[i]))
	}
	return waits
}

var (
	errBusy     = errors.NewErrorf(errors.Unavailable, "busy") // an error that a server returns
	errNoServer = errors.WithFacts(errors.ErrNoResponse, errors.CallFacts{Phase: errors.PhaseResponse, Reason: errors.ReasonNobodyListening})
	silent      = errors.WithFacts(errors.ErrRequestTimedOut, errors.CallFacts{Phase: errors.PhaseResponse, Reason: errors.ReasonSilent})
)

func TestRetry_UntilItSucceeds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &fakeCall{err: errNoServer, failures: 2}
		response, err := newRetrier(nil).call(testservice.Info(testservice.Ask), a.call)(t.Context(), say("hi"))
		require.NoError(t, err)
		assert.Equal(t, "done", response.(testservice.Text).GetValue())
		assert.Equal(t, []int{1, 2, 3}, a.numbers)
	})
}

func TestRetry_GivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for wanted, opts := range map[int][]RetryOption{3: nil, 1: {WithAttempts(1)}, 5: {WithAttempts(5), WithAttempts(0)}} {
			a := &fakeCall{err: errNoServer, failures: 10}
			_, err := newRetrier(opts).call(testservice.Info(testservice.Ask), a.call)(t.Context(), say("hi"))
			assert.Equal(t, errNoServer, err, "the last error, as it is")
			assert.Len(t, a.started, wanted)
		}
	})
}

func TestRetry_Worthwhile(t *testing.T) {
	t.Parallel()
	facts := func(code errors.ErrorCode, phase errors.Phase, reason errors.Reason) error {
		return errors.WithFacts(errors.NewErrorf(code, "failed"), errors.CallFacts{Phase: phase, Reason: reason})
	}
	info := func(code errors.ErrorCode) error {
		return errors.NewError(code, errors.New("full"), &errdetails.RetryInfo{})
	}
	for _, tt := range []struct {
		name              string
		err               error
		idempotent, other bool // whether idempotent methods, and all other methods, are retried
	}{
		{"nobody listens", errNoServer, true, true},
		{"all declined", facts(errors.Unavailable, errors.PhaseSelection, errors.ReasonAllDeclined), true, true},
		{"none chosen", facts(errors.Unavailable, errors.PhaseResponse, errors.ReasonAllDeclined), true, true},
		{"below minimum", facts(errors.Unavailable, errors.PhaseResponse, errors.ReasonBelowMinimum), true, true},
		{"not published", facts(errors.Unavailable, errors.PhasePublish, errors.ReasonBusDown), true, true},
		{"lost on its way", facts(errors.Unavailable, errors.PhaseResponse, errors.ReasonBusDown), true, false},
		{"no answer", silent, true, false},
		{"selected, and silent", facts(errors.DeadlineExceeded, errors.PhaseResponse, errors.ReasonClaimedButSilent), true, false},
		{"too large", facts(errors.ResourceExhausted, errors.PhasePublish, errors.ReasonTooLarge), false, false},
		{"server is busy", errBusy, true, false},
		{"server has no room", errors.NewErrorf(errors.ResourceExhausted, "full"), false, false},
		{"server says it may be tried again", info(errors.ResourceExhausted), true, false},
		{"the same, wrapped", fmt.Errorf("oh: %w", info("own_code")), true, false},
		{"canceled", facts(errors.Canceled, errors.PhasePublish, errors.ReasonCanceled), false, false},
		{"conn closed", errors.WithFacts(errors.ErrClientClosed, errors.CallFacts{Phase: errors.PhasePublish, Reason: errors.ReasonClosed}), false, false},
		{"bus closed", errors.WithFacts(bus.ErrClosed, errors.CallFacts{Phase: errors.PhasePublish, Reason: errors.ReasonBusDown}), false, false},
		{"server failed", errors.NewErrorf(errors.Internal, "oh"), false, false},
		{"not found", errors.NewErrorf(errors.NotFound, "oh"), false, false},
		{"no code", errors.New("oh"), false, false},
	} {
		assert.Equal(t, tt.idempotent, retries(nil, tt.err, true), "%s, idempotent", tt.name)
		assert.Equal(t, tt.other, retries(nil, tt.err, false), "%s, not idempotent", tt.name)
	}
	opts := []RetryOption{WithRetryCodes(errors.Aborted)}
	assert.True(t, retries(opts, errors.NewErrorf(errors.Aborted, "oh"), true))
	assert.False(t, retries(opts, errors.NewErrorf(errors.Aborted, "oh"), false))
	assert.False(t, retries(opts, errNoServer, true))
}

// retries reports whether a call is retried after an attempt has failed with err.
func retries(opts []RetryOption, err error, idempotent bool) bool {
	attempts := 0
	opts = append([]RetryOption{WithAttempts(2), WithBackoff(1, 1)}, opts...)
	_ = newRetrier(opts).run(context.Background(), operation{
		idempotent: idempotent,
		do:         func(context.Context) error { attempts++; return err },
	})
	return attempts == 2
}

// TestRetry_Func checks that the function set with WithRetryFunc decides after each attempt but the
// last.
func TestRetry_Func(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var failed []FailedAttempt
		var usual []RetryDecision
		r := newRetrier([]RetryOption{WithAttempts(4), WithRetryFunc(func(f FailedAttempt, d RetryDecision) RetryDecision {
			failed, usual = append(failed, f), append(usual, d)
			return RetryDecision{Retry: true, Wait: time.Duration(f.Number) * time.Hour, AttemptTimeout: time.Second}
		})})
		// The method is not idempotent, so Retry itself would not retry this error.
		a := &fakeCall{err: errBusy, failures: 10, takes: 2 * time.Second}
		_, err := r.call(testservice.Info(testservice.Ask), a.call)(t.Context(), say("hi"))
		requireCode(t, errors.DeadlineExceeded, err)
		assert.Equal(t, []time.Duration{2*time.Second + time.Hour, time.Second + 2*time.Hour, time.Second + 3*time.Hour}, a.waits())
		require.Len(t, failed, 3)
		for i, f := range failed {
			assert.Equal(t, testservice.Info(testservice.Ask).Descriptor, f.Method)
			assert.Equal(t, i+1, f.Number)
			assert.False(t, f.Safe)
			assert.False(t, usual[i].Retry)
		}
		assert.Equal(t, errBusy, failed[0].Err)
	})
}

func TestRetry_FuncRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRetrier([]RetryOption{WithRetryFunc(func(f FailedAttempt, d RetryDecision) RetryDecision {
			assert.True(t, d.Retry)
			assert.True(t, f.Safe)
			d.Retry = f.Number < 2
			return d
		})})
		a := &fakeCall{err: errNoServer, failures: 10}
		_, err := r.call(testservice.Info(testservice.Ask), a.call)(t.Context(), say("hi"))
		assert.Equal(t, errNoServer, err)
		assert.Len(t, a.started, 2)
	})
}

// TestRetry_FuncIsBounded checks that the number of attempts, the deadline and the budget also
// apply to a function that always retries.
func TestRetry_FuncIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		always := WithRetryFunc(func(FailedAttempt, RetryDecision) RetryDecision { return RetryDecision{Retry: true, Wait: -1} })
		attempts := func(ctx context.Context, err error, opts ...RetryOption) int {
			a := &fakeCall{err: err, failures: 1000}
			r := newRetrier(append(opts, always))
			_, _ = r.call(testservice.Info(testservice.Ask), a.call)(ctx, say("hi"))
			return len(a.started)
		}
		assert.Equal(t, 3, attempts(t.Context(), errBusy))
		assert.Equal(t, 5, attempts(t.Context(), errBusy, WithAttempts(1000), WithRetryBudget(4, 0)))
		assert.Equal(t, 1, attempts(t.Context(), bus.ErrClosed))
		expired, cancel := context.WithCancel(t.Context())
		cancel()
		assert.Equal(t, 1, attempts(expired, errBusy))
	})
}

func TestRetry_Idempotency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			method string
			opts   []RetryOption
			wanted int
		}{
			{testservice.Ask, nil, 1}, {testservice.Look, nil, 2}, {testservice.Set, nil, 2},
			{testservice.Ask, []RetryOption{WithIdempotent(func(*registry.Method) bool { return true })}, 2},
			{testservice.Look, []RetryOption{WithIdempotent(func(*registry.Method) bool { return false })}, 1},
		} {
			a := &fakeCall{err: errBusy, failures: 1}
			_, _ = newRetrier(tt.opts).call(testservice.Info(tt.method), a.call)(t.Context(), say("hi"))
			assert.Len(t, a.started, tt.wanted, tt.method)
		}
	})
}

func TestRetry_Backoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const ms = time.Millisecond
		ceilings := []time.Duration{100 * ms, 200 * ms, 400 * ms, 700 * ms, 700 * ms}
		for err, atLeastHalf := range map[error]bool{errBusy: false, errNoServer: true} {
			least := [5]time.Duration{time.Hour, time.Hour, time.Hour, time.Hour, time.Hour}
			most := [5]time.Duration{}
			for range 200 {
				a := &fakeCall{err: err, failures: 10}
				r := newRetrier([]RetryOption{WithAttempts(6), WithBackoff(100*ms, 700*ms), WithRetryBudget(0, 0)})
				_, _ = r.call(testservice.Info(testservice.Look), a.call)(t.Context(), say("hi"))
				for i, wait := range a.waits() {
					least[i], most[i] = min(least[i], wait), max(most[i], wait)
				}
			}
			for i, ceiling := range ceilings {
				floor := time.Duration(0)
				if atLeastHalf {
					floor = ceiling / 2
				}
				assert.LessOrEqual(t, most[i], ceiling)
				assert.Greater(t, most[i], ceiling*9/10, "the whole range is used")
				assert.GreaterOrEqual(t, least[i], floor)
				assert.Less(t, least[i], floor+ceiling/10)
			}
		}
	})
}

// TestRetry_BackoffExtremes checks that extreme values of the settings cause no integer overflow.
func TestRetry_BackoffExtremes(t *testing.T) {
	t.Parallel()
	for _, b := range []backoff{{1, 1}, {time.Hour, time.Second}, {1, 1<<63 - 1}, {1<<63 - 1, 1<<63 - 1}} {
		for _, err := range []error{errBusy, errNoServer} {
			for _, attempts := range []int{1, 2, 63, 64, 65, 1000} {
				wait := b.wait(attempts, err)
				assert.GreaterOrEqual(t, wait, time.Duration(0))
				assert.LessOrEqual(t, wait, b.maximum)
			}
		}
	}
}

func TestRetry_RequestedDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		later := errors.NewError(errors.ResourceExhausted, errors.New("full"), &errdetails.RetryInfo{RetryDelay: durationpb.New(7 * time.Second)})
		a := &fakeCall{err: later, failures: 1}
		_, err := newRetrier(nil).call(testservice.Info(testservice.Look), a.call)(t.Context(), say("hi"))
		require.NoError(t, err)
		assert.Equal(t, []time.Duration{7 * time.Second}, a.waits())
	})
}

// TestRetry_NeverPastTheDeadline checks that a call with retries ends by its deadline.
func TestRetry_NeverPastTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, takes := range []time.Duration{0, 300 * time.Millisecond} {
			a := &fakeCall{err: errBusy, failures: 1000, takes: takes}
			r := newRetrier([]RetryOption{WithAttempts(1000), WithBackoff(400*time.Millisecond, time.Second), WithRetryBudget(0, 0)})
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			started := time.Now()
			_, err := r.call(testservice.Info(testservice.Look), a.call)(ctx, say("hi"))
			cancel()
			require.Error(t, err)
			assert.LessOrEqual(t, time.Since(started), 5*time.Second)
			assert.Greater(t, len(a.started), 3)
			if takes == 0 {
				assert.Equal(t, errBusy, err)
			}
		}
	})
}

// TestRetry_AttemptsEndInTime checks that every attempt but the first ends at the deadline of the
// call. Package dynamic ensures this for the first attempt.
func TestRetry_AttemptsEndInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls, started := 0, time.Now()
		err := newRetrier([]RetryOption{WithBackoff(1, 1)}).run(t.Context(), operation{
			deadline: started.Add(time.Second),
			do: func(ctx context.Context) error {
				if calls++; calls == 1 {
					return errNoServer
				}
				<-ctx.Done()
				return errors.FromContext(ctx.Err())
			},
		})
		requireCode(t, errors.DeadlineExceeded, err)
		assert.Equal(t, time.Second, time.Since(started))
	})
}

func TestRetry_AttemptTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &fakeCall{takes: time.Hour}
		r := newRetrier([]RetryOption{WithAttemptTimeout(time.Second), WithBackoff(1, 1)})
		_, err := r.call(testservice.Info(testservice.Look), a.call)(t.Context(), say("hi"))
		requireCode(t, errors.DeadlineExceeded, err)
		assert.Equal(t, []int{1, 2, 3}, a.numbers)
		for _, wait := range a.waits() {
			assert.Equal(t, time.Second, wait.Round(time.Millisecond))
		}
	})
}

func TestRetry_CanceledWhileItWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		a := &fakeCall{err: errNoServer, failures: 10}
		r := newRetrier([]RetryOption{WithBackoff(time.Hour, time.Hour)})
		done := make(chan error)
		go func() { // the test waits for this goroutine
			_, err := r.call(testservice.Info(testservice.Ask), a.call)(ctx, say("hi"))
			done <- err
		}()
		synctest.Wait()
		cancel()
		err := <-done
		requireCode(t, errors.Canceled, err)
		require.ErrorIs(t, err, errors.ErrRequestCanceled)
		require.ErrorIs(t, err, errors.ErrNoResponse, "and why it waited")
		assert.Len(t, a.started, 1)
	})
}

func TestRetry_Budget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRetrier([]RetryOption{WithRetryBudget(4, 0.5)})
		call := func(failures int) int {
			a := &fakeCall{err: errNoServer, failures: failures}
			_, _ = r.call(testservice.Info(testservice.Ask), a.call)(t.Context(), say("hi"))
			return len(a.started)
		}
		assert.Equal(t, 3, call(10))
		assert.Equal(t, 3, call(10))
		assert.Equal(t, 1, call(10), "4 retries were made")
		assert.Equal(t, 1, call(0))
		assert.Equal(t, 1, call(10), "half a retry is none")
		assert.Equal(t, 1, call(0))
		assert.Equal(t, 2, call(10))
		for range 100 {
			call(0)
		}
		assert.Equal(t, 3, call(10))
		assert.Equal(t, 3, call(10))
		assert.Equal(t, 1, call(10), "it has never more than at first")
	})
}

// multiStub stands for the server in tests of multi calls.
type multiStub struct {
	dynamic.ClientMultiRPCHandler

	send func(ctx context.Context) error
}

func (m multiStub) Send(ctx context.Context, _ proto.Message, _ ...dynamic.RequestOption) error {
	return m.send(ctx)
}

func TestRetry_Multi(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &fakeCall{err: errors.WithFacts(errBusy, errors.CallFacts{Phase: errors.PhasePublish}), failures: 2}
		handler := newRetrier(nil).multi(testservice.Info(testservice.AskAll), multiStub{send: a.try})
		require.NoError(t, handler.Send(t.Context(), say("hi")))
		assert.Equal(t, []int{1, 2, 3}, a.numbers)
	})
}

// streamStub stands for the server in tests of streams.
type streamStub struct {
	dynamic.StreamHandler

	send func() error
}

func (s streamStub) Send(proto.Message, ...dynamic.StreamOption) error { return s.send() }

func TestRetry_StreamSend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &fakeCall{err: errNoServer, failures: 2}
		handler := newRetrier(nil).stream(testservice.Info(testservice.Talk), streamStub{send: func() error { return a.try(t.Context()) }})
		require.NoError(t, handler.Send(say("hi")))
		assert.Len(t, a.started, 3)
	})
}
