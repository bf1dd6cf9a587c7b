package lifecycle

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// closedAfter returns a channel that is closed after a delay.
func closedAfter(delay time.Duration) <-chan struct{} {
	done := make(chan struct{})
	time.AfterFunc(delay, func() { close(done) })
	return done
}

func TestWait_IgnoresAnEndedContextIfDone(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan struct{})
	require.ErrorIs(t, Wait(ctx, done), context.Canceled)
	close(done)
	require.NoError(t, Wait(ctx, done))
}

func TestWait_EndsWithEither(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.NoError(t, Wait(ctx, closedAfter(time.Millisecond)))
		require.ErrorIs(t, Wait(ctx, closedAfter(time.Minute)), context.DeadlineExceeded)
	})
}

// WaitWithGrace waits for CloseGrace after the end of its context, but no longer.
func TestWaitWithGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, WaitWithGrace(ctx, closedAfter(CloseGrace-1)))
		started := time.Now()
		require.ErrorIs(t, WaitWithGrace(ctx, closedAfter(time.Minute)), context.Canceled)
		assert.Equal(t, CloseGrace, time.Since(started))
	})
}

func TestWaitAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		assert.True(t, WaitAtMost(time.Second, closedAfter(time.Millisecond)))
		assert.False(t, WaitAtMost(time.Second, closedAfter(time.Minute)))
	})
}
