package lazyctx

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTimeout_StartsAtTheFirstUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		timeout := &Timeout{Limit: time.Second}
		<-time.After(time.Hour)
		require.NoError(t, timeout.Err())
		deadline, ok := timeout.Deadline()
		assert.True(t, ok)
		assert.Equal(t, time.Second, time.Until(deadline))
		start := time.Now()
		<-timeout.Done()
		assert.Equal(t, time.Second, time.Since(start))
		require.ErrorIs(t, timeout.Err(), context.DeadlineExceeded)
		timeout.Cancel()
		require.ErrorIs(t, timeout.Err(), context.DeadlineExceeded)
	})
}

func TestTimeout_HasChildren(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		timeout := &Timeout{Limit: time.Second}
		type key struct{}
		assert.Nil(t, timeout.Value(key{}))
		child, cancel := context.WithTimeout(context.WithValue(timeout, key{}, 1), time.Hour)
		defer cancel()
		assert.Equal(t, 1, child.Value(key{}))
		<-child.Done()
		require.ErrorIs(t, child.Err(), context.DeadlineExceeded)
		timeout.Cancel()
	})
}

// Cancel must stop the timer of a Timeout that has been used. A Timeout that has not been used has
// no timer, so Cancel must do nothing.
func TestTimeout_CancelReleasesTheTimer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for range 2 {
			timeout := &Timeout{Limit: time.Hour}
			done := timeout.Done()
			timeout.Cancel()
			<-done
			require.ErrorIs(t, timeout.Err(), context.Canceled)
		}
		unused := &Timeout{Limit: time.Hour}
		unused.Cancel()
		require.NoError(t, unused.Err())
	})
}

// If several goroutines call Done for the first time concurrently, all of them must get the same
// channel.
func TestTimeout_ConcurrentFirstUse(t *testing.T) {
	t.Parallel()
	timeout := &Timeout{Limit: time.Hour}
	defer timeout.Cancel()
	channels := make(chan (<-chan struct{}))
	for range 16 {
		go func() { channels <- timeout.Done() }()
	}
	first := <-channels
	for range 15 {
		assert.Equal(t, first, <-channels)
	}
}
