package semaphore

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSemaphore_Limit(t *testing.T) {
	t.Parallel()
	s := Semaphore{Max: 2}
	assert.False(t, s.Full())
	assert.True(t, s.TryAcquire())
	assert.False(t, s.Full())
	assert.True(t, s.TryAcquire())
	assert.True(t, s.Full())
	for range 3 { // a failed attempt does not change the number of running operations
		assert.False(t, s.TryAcquire())
	}
	s.Release()
	assert.False(t, s.Full())
	assert.True(t, s.TryAcquire())
	assert.False(t, s.TryAcquire())
}

func TestSemaphore_ZeroValueHasNoLimit(t *testing.T) {
	t.Parallel()
	var s Semaphore
	for range 1000 {
		assert.True(t, s.TryAcquire())
		assert.False(t, s.Full())
	}
	s.Release()
	assert.True(t, s.TryAcquire())
}

func TestSemaphore_ConcurrentUseKeepsTheLimit(t *testing.T) {
	t.Parallel()
	const limit = 3
	s := Semaphore{Max: limit}
	var running, highest atomic.Int64
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for range 1000 {
				if !s.TryAcquire() {
					continue
				}
				now := running.Add(1)
				for old := highest.Load(); now > old && !highest.CompareAndSwap(old, now); old = highest.Load() {
				}
				running.Add(-1)
				s.Release()
			}
		})
	}
	workers.Wait()
	assert.LessOrEqual(t, highest.Load(), int64(limit))
	assert.Zero(t, s.running.Load())
	for range limit {
		assert.True(t, s.TryAcquire())
	}
	assert.False(t, s.TryAcquire())
}
