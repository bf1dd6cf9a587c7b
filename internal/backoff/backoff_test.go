package backoff_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/internal/backoff"
)

func TestBackoff_PauseDoublesUpToMax(t *testing.T) {
	t.Parallel()
	b := backoff.Backoff{Min: 25 * time.Millisecond, Max: 400 * time.Millisecond}
	for attempts, milliseconds := range map[int]int{
		0: 25, 1: 25, 2: 50, 3: 100, 4: 200, 5: 400, 6: 400, 1000: 400, math.MaxInt: 400,
	} {
		want := time.Duration(milliseconds) * time.Millisecond
		assert.Equal(t, want, b.Pause(attempts), "%d attempts", attempts)
	}
	assert.Equal(t, time.Second, backoff.Backoff{Min: time.Hour, Max: time.Second}.Pause(1))
}

func TestBackoff_JitteredIsBetweenHalfAndAll(t *testing.T) {
	t.Parallel()
	b := backoff.Backoff{Min: time.Second, Max: time.Minute}
	for range 1000 {
		assert.InDelta(t, 3*time.Second, b.Jittered(3), float64(time.Second))
	}
	assert.LessOrEqual(t, backoff.Backoff{Min: 1, Max: 1}.Jittered(1), time.Duration(1))
}

func TestSleep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		assert.True(t, backoff.Sleep(t.Context(), time.Minute))
		assert.Equal(t, time.Minute, time.Since(start))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.False(t, backoff.Sleep(ctx, time.Hour))
		assert.Equal(t, time.Minute+time.Second, time.Since(start))
	})
}
