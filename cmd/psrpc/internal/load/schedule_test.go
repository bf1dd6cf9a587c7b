package load

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSchedule_Ramp(t *testing.T) {
	plan := Plan{Ramp: &Ramp{From: 100, To: 300, Over: 10 * time.Second}, WarmUp: time.Second}
	s := plan.schedule()
	assert.EqualValues(t, 100, s.warmUpOperations())
	assert.Equal(t, 500*time.Millisecond, s.at(50))
	assert.Equal(t, time.Second, s.at(100))
	// Halfway through the ramp, 5 s after the warm-up, 750 operations have started: 150 per second
	// on average.
	assert.InDelta(t, 6, s.at(100+750).Seconds(), 1e-6)
	// The whole ramp has 2,000 operations. After it, the rate no longer changes.
	assert.InDelta(t, 11, s.at(100+2000).Seconds(), 1e-6)
	assert.InDelta(t, 12, s.at(100+2300).Seconds(), 1e-6)
	for n := uint64(1); n < 3000; n++ {
		require.Greater(t, s.at(n), s.at(n-1))
	}
}

func TestSchedule_RampDown(t *testing.T) {
	plan := Plan{Ramp: &Ramp{From: 300, To: 100, Over: 10 * time.Second}}
	s := plan.schedule()
	assert.InDelta(t, 5, s.at(1250).Seconds(), 1e-6)
	assert.InDelta(t, 10, s.at(2000).Seconds(), 1e-6)
}

// If a server pauses, the latencies of an open loop must show it. An operation that could not start
// during the pause is measured from its intended start.
func TestRun_OpenLoopCountsFromTheIntendedStart(t *testing.T) {
	const pause = 200 * time.Millisecond
	start := time.Now()
	var once sync.Once
	paused := func(context.Context, Request) error {
		once.Do(func() { <-time.After(pause) })
		return nil
	}
	result, err := Run(t.Context(), Plan{Rate: 500, Callers: 1, Count: 200}, paused)
	require.NoError(t, err)
	assert.EqualValues(t, 200, result.Completed)
	assert.Less(t, time.Since(start), 20*time.Second, "the run waits for 200 operations at a rate of 500, not for each of them")
	assert.GreaterOrEqual(t, result.Latency.Max, pause)
	// About 100 of the 200 operations had to wait, on average for half the pause.
	assert.Greater(t, result.Latency.P90, pause/2)
	assert.Greater(t, result.Late.P90, pause/2)
}

// runBubble is [Run] for the bubbles of synctest, which cannot follow the sleep of an open loop.
func runBubble(t *testing.T, plan Plan, operation Operation) *Result {
	t.Helper()
	result, err := runWith(t.Context(), plan, operation, func(d time.Duration) { <-time.After(d) })
	require.NoError(t, err)
	return result
}

// The last operation of an open loop starts before the end of the loop. The rest of the time must
// count, too, so that the measured rate does not exceed the planned one.
func TestRun_OpenLoopIsNotFasterThanItsRate(t *testing.T) {
	for _, plan := range []Plan{
		{Rate: 20, For: 200 * time.Millisecond},
		{Rate: 20, Count: 4},
		{Rate: 20, Count: 4, For: time.Hour, WarmUp: 50 * time.Millisecond},
		{Ramp: &Ramp{From: 10, To: 30, Over: 200 * time.Millisecond}},
	} {
		synctest.Test(t, func(t *testing.T) {
			result := runBubble(t, plan, func(context.Context, Request) error { return nil })
			assert.EqualValues(t, 4, result.Completed)
			assert.Zero(t, result.NotStarted)
			assert.Equal(t, 200*time.Millisecond, result.Elapsed)
			assert.LessOrEqual(t, result.PerSecond, 20.0)
		})
	}
}

func TestRun_OpenLoopTellsWhatItCouldNotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		time.AfterFunc(time.Minute, func() { close(stuck) }) // long after the end of the run
		result := runBubble(t, Plan{Rate: 10, Callers: 2, For: 3 * time.Second}, func(context.Context, Request) error {
			<-stuck
			return nil
		})
		assert.EqualValues(t, 2, result.Completed)
		assert.EqualValues(t, 28, result.NotStarted)
		assert.InDelta(t, 28.0/30, result.ErrorRatio(), 1e-9)
	})
}

// The operations that remain must include neither those of the warm-up nor those beyond the number
// in the plan.
func TestRun_RemainingOperations(t *testing.T) {
	plan := Plan{Rate: 100, For: 200 * time.Millisecond, WarmUp: 100 * time.Millisecond}
	r := &run{plan: plan, start: time.Now()}
	r.end = r.start.Add(plan.WarmUp + plan.For)
	assert.EqualValues(t, 20, r.remaining(plan.schedule(), 10))
	assert.EqualValues(t, 15, r.remaining(plan.schedule(), 15))
	r.plan.Count = 12
	assert.EqualValues(t, 7, r.remaining(plan.schedule(), 15))
}

func TestSchedule_IsBounded(t *testing.T) {
	assert.Equal(t, longest, Plan{Rate: 1e-300}.schedule().at(1))
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Microsecond)
	}
	c := new(counts)
	h.read(c)
	s := c.summary()
	assert.InEpsilon(t, 500*time.Microsecond, s.P50, 0.01)
	assert.InEpsilon(t, 990*time.Microsecond, s.P99, 0.01)
	assert.Equal(t, time.Millisecond, s.Max)
	assert.InEpsilon(t, 500*time.Microsecond, s.Mean, 0.01)
	earlier := *c
	h.add(time.Second)
	h.read(c)
	c.sub(&earlier)
	assert.EqualValues(t, 1, c.total)
	assert.InEpsilon(t, time.Second, c.quantile(0.5), 0.01)
	assert.Zero(t, new(histogram).summary())
}

func TestMark(t *testing.T) {
	want := mark{run: 7, caller: 3, number: 1 << 40, intended: 2 * time.Second, measured: true}
	encoded := want.append([]byte{0x08, 0x01, 0x12, 0x01, 'x'})
	got, ok := markOf(encoded)
	assert.True(t, ok)
	assert.Equal(t, want, got)
	for _, bad := range [][]byte{nil, {0x08, 0x01}, encoded[:len(encoded)-1], {0xff}} {
		_, ok := markOf(bad)
		assert.False(t, ok)
	}
	set := newUpdateSet()
	assert.True(t, set.add(1, 200))
	assert.False(t, set.add(1, 200))
	assert.True(t, set.add(2, 200))
	assert.False(t, set.add(1, maxUpdates))
}
