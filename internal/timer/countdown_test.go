package timer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCountdown_ExpiresOnTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, d := range []time.Duration{0, 1, 7, time.Second, time.Hour} {
			start, expired := time.Now(), make(chan time.Time, 2)
			NewCountdown(d, func() { expired <- time.Now() })
			assert.Equal(t, d, (<-expired).Sub(start))
			<-time.After(2 * time.Hour)
			assert.Empty(t, expired, "it expires once")
		}
	})
}

func TestCountdown_StoppedDoesNotExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, wait := range []time.Duration{0, time.Second / 2, time.Second - 1} {
			c := NewCountdown(time.Second, func() { assert.Fail(t, "expired") })
			<-time.After(wait)
			c.Stop()
			c.Stop()
			<-time.After(time.Hour)
		}
	})
}

// A part that expires late must be repeated, but only once.
func TestCountdown_RepeatsALatePart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for late := range countdownParts {
			start, expired := time.Now(), make(chan time.Time, 1)
			c := NewCountdown(4*time.Second, func() { expired <- time.Now() })
			<-time.After(time.Duration(late)*time.Second + time.Second/2)
			// Like pauses of the process, this delays the part and its repetition.
			for range 2 {
				c.mu.Lock()
				c.timer.Reset(time.Hour)
				c.mu.Unlock()
				<-time.After(time.Hour)
				synctest.Wait()
			}
			rest := time.Duration(countdownParts-1-late) * time.Second
			assert.Equal(t, time.Duration(late)*time.Second+time.Second/2+2*time.Hour+rest, (<-expired).Sub(start), late)
		}
	})
}

// A countdown whose parts all expire late must end after twice its duration.
func TestCountdown_EndsWithLateParts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		expired := make(chan time.Time, 1)
		c := NewCountdown(time.Second, func() { expired <- time.Now() })
		parts := 0
		for len(expired) == 0 {
			c.mu.Lock()
			c.timer.Reset(time.Hour)
			c.mu.Unlock()
			<-time.After(time.Hour)
			synctest.Wait()
			parts++
		}
		assert.Equal(t, 2*countdownParts, parts)
	})
}

func TestWithTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, cancel := WithTimeout(t.Context(), time.Second)
		deadline, ok := ctx.Deadline()
		assert.True(t, ok)
		assert.Equal(t, time.Second, deadline.Sub(start))
		require.NoError(t, ctx.Err())
		<-ctx.Done()
		assert.Equal(t, time.Second, time.Since(start))
		require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
		cancel()
		require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)

		ctx, cancel = WithTimeout(t.Context(), time.Second)
		cancel()
		<-time.After(time.Hour)
		require.ErrorIs(t, ctx.Err(), context.Canceled)

		parent, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ctx, cancel = WithTimeout(parent, time.Hour)
		defer cancel()
		deadline, ok = ctx.Deadline()
		assert.True(t, ok)
		assert.Equal(t, time.Second, time.Until(deadline))
		<-ctx.Done()
		require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)

		ctx, cancel = WithTimeout(t.Context(), time.Second)
		defer cancel()
		child, cancelChild := context.WithCancel(ctx)
		defer cancelChild()
		<-child.Done()
		require.ErrorIs(t, context.Cause(ctx), context.DeadlineExceeded)
		require.ErrorIs(t, context.Cause(child), context.DeadlineExceeded)
	})
}
