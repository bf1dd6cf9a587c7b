package lazyctx

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPatience_BeginsWhenAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &Timeout{Limit: time.Second}
		<-time.After(time.Hour)
		require.NoError(t, p.Err())
		deadline, ok := p.Deadline()
		assert.True(t, ok)
		assert.Equal(t, time.Second, time.Until(deadline))
		start := time.Now()
		<-p.Done()
		assert.Equal(t, time.Second, time.Since(start))
		require.ErrorIs(t, p.Err(), context.DeadlineExceeded)
		p.Cancel()
		require.ErrorIs(t, p.Err(), context.DeadlineExceeded)
	})
}

func TestPatience_IsAContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &Timeout{Limit: time.Second}
		type key struct{}
		assert.Nil(t, p.Value(key{}))
		child, cancel := context.WithTimeout(context.WithValue(p, key{}, 1), time.Hour)
		defer cancel()
		assert.Equal(t, 1, child.Value(key{}))
		<-child.Done()
		require.ErrorIs(t, child.Err(), context.DeadlineExceeded)
		p.Cancel()
	})
}

// TestPatience_EndLeavesNoTimer: the bubble ends with nothing left running.
func TestPatience_EndLeavesNoTimer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for range 2 {
			p := &Timeout{Limit: time.Hour}
			done := p.Done()
			p.Cancel()
			<-done
			require.ErrorIs(t, p.Err(), context.Canceled)
		}
		unused := &Timeout{Limit: time.Hour}
		unused.Cancel()
		require.NoError(t, unused.Err())
	})
}
