package load_test

import (
	"context"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/load"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// wait returns an operation that takes the time d.
func wait(d time.Duration) load.Operation {
	return func(context.Context, load.Request) error {
		<-time.After(d)
		return nil
	}
}

func TestRun_ClosedLoopWaitsForTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plan := load.Plan{Callers: 4, For: time.Second, WarmUp: 300 * time.Millisecond}
		result, err := load.Run(t.Context(), plan, wait(100*time.Millisecond))
		require.NoError(t, err)
		assert.EqualValues(t, 40, result.Completed)
		assert.EqualValues(t, 40, result.Operations)
		assert.Equal(t, time.Second, result.Elapsed)
		assert.InDelta(t, 40, result.PerSecond, 0.1)
		assert.InDelta(t, 100*time.Millisecond, result.Latency.P50, float64(2*time.Millisecond))
		assert.Equal(t, 100*time.Millisecond, result.Latency.Max)
		assert.Nil(t, result.Late)
	})
}

func TestRun_EndsAfterCount(t *testing.T) {
	for _, plan := range []load.Plan{
		{Callers: 3, Count: 10},
		{Rate: 200, Count: 10},
		{Rate: 200, Count: 10, WarmUp: 22 * time.Millisecond},
	} {
		result, err := load.Run(t.Context(), plan, wait(0))
		require.NoError(t, err)
		assert.EqualValues(t, 10, result.Completed)
	}
}

func TestRun_EndsWithContext(t *testing.T) {
	for _, plan := range []load.Plan{{Callers: 2, For: time.Hour}, {Rate: 100, For: time.Hour}} {
		ctx, cancel := context.WithCancel(t.Context())
		var ended atomic.Int64
		result, err := load.Run(ctx, plan, func(context.Context, load.Request) error {
			if ended.Add(1) == 10 {
				cancel()
			}
			return nil
		})
		cancel()
		require.NoError(t, err)
		assert.Positive(t, result.Completed)
		assert.Zero(t, result.NotStarted)
	}
}

func TestRun_EndsIfNothingSucceeds(t *testing.T) {
	failure := errors.NewErrorf(errors.NotFound, "no such thing")
	for _, plan := range []load.Plan{{Callers: 2, For: time.Hour}, {Callers: 2, For: time.Hour, WarmUp: time.Hour}} {
		result, err := load.Run(t.Context(), plan, func(context.Context, load.Request) error { return failure })
		require.NoError(t, err)
		assert.Zero(t, result.Completed)
		assert.Equal(t, failure, result.Err)
		if plan.WarmUp == 0 {
			assert.GreaterOrEqual(t, result.Errors["not_found"], uint64(100))
			assert.Equal(t, result.Failed, result.Errors["not_found"])
		}
	}
}

func TestRun_RejectsBadPlans(t *testing.T) {
	for _, plan := range []load.Plan{
		{Rate: -1},
		{Rate: 1e9},
		{Rate: 1, Ramp: &load.Ramp{From: 1, To: 2, Over: time.Second}},
		{Ramp: &load.Ramp{From: 0, To: 2, Over: time.Second}},
		{Ramp: &load.Ramp{From: 1, To: 2}},
		{For: -1},
		{Rate: math.NaN()},
		{Ramp: &load.Ramp{From: 1, To: math.NaN(), Over: time.Second}},
	} {
		_, err := load.Run(t.Context(), plan, wait(0))
		assert.ErrorIs(t, err, errors.InvalidArgument)
	}
}

func TestRun_RecordsSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var progress int
		plan := load.Plan{Callers: 1, For: 3 * time.Second, Progress: func(load.Second) { progress++ }}
		result, err := load.Run(t.Context(), plan, wait(100*time.Millisecond))
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(result.Seconds), 2)
		assert.Len(t, result.Seconds, progress)
		assert.InDelta(t, 10, float64(result.Seconds[1].Completed), 1)
		assert.InDelta(t, 100*time.Millisecond, result.Seconds[1].P99, float64(2*time.Millisecond))
	})
}

// An operation that waits for a lost update fails, but counts once.
func TestResult_CountsALostUpdateOnce(t *testing.T) {
	result := &load.Result{Operations: 10, Completed: 8, Failed: 2, Delivery: &load.Delivery{Published: 9, Received: 8, Lost: 1}}
	assert.InDelta(t, 0.2, result.ErrorRatio(), 1e-9)
}

func TestThresholds(t *testing.T) {
	none, some := 0.0, 0.2
	result := &load.Result{
		Operations: 10, Completed: 9, Failed: 1, PerSecond: 100,
		Latency: load.Latency{P50: time.Millisecond, P99: 7 * time.Millisecond},
	}
	assert.Empty(t, (&load.Thresholds{MaxP99: 10 * time.Millisecond, MaxErrors: &some, MinRate: 50}).Check(result))
	assert.Equal(t, []string{
		"p99 is 7ms, which is more than 5ms",
		"10 % of the operations failed, which is more than 0 %",
		"the rate is 100 a second, which is less than 200",
	}, (&load.Thresholds{MaxP99: 5 * time.Millisecond, MaxErrors: &none, MinRate: 200}).Check(result))
	assert.Equal(t, []string{"p50 is unknown, because no operation was completed"},
		(&load.Thresholds{MaxP50: time.Second}).Check(&load.Result{}))
}
