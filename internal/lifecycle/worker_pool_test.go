package lifecycle

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWorkerPool_RunsEveryTaskOnce(t *testing.T) {
	t.Parallel()
	const tasks = 10_000
	var ran [tasks]atomic.Int64
	var all sync.WaitGroup
	all.Add(tasks)
	pool := NewWorkerPool(func(task int) {
		defer all.Done()
		ran[task].Add(1)
	})
	for task := range tasks {
		require.True(t, pool.Go(task))
	}
	all.Wait()
	<-pool.Stop()
	pool.Wait()
	for task := range ran {
		require.EqualValues(t, 1, ran[task].Load())
	}
}

func TestWorkerPool_TasksRunConcurrently(t *testing.T) {
	t.Parallel()
	const tasks = 3 * maxIdle
	var started sync.WaitGroup
	started.Add(tasks)
	release := make(chan struct{})
	pool := NewWorkerPool(func(int) {
		started.Done()
		<-release
	})
	for task := range tasks {
		require.True(t, pool.Go(task))
	}
	started.Wait()
	close(release)
	idle := func() (n int32, most int32) {
		for i := range pool.idle {
			n += pool.idle[i].count.Load()
			most = max(most, pool.idle[i].count.Load())
		}
		return n, most
	}
	// Goroutines that have finished their task stay idle, up to the limit.
	require.Eventually(t, func() bool {
		n, most := idle()
		return n >= maxIdle && most <= maxIdle
	}, 10*time.Second, time.Millisecond)
	<-pool.Stop()
	pool.Wait()
	n, _ := idle()
	assert.Zero(t, n)
}

func TestWorkerPool_StopWaitsForRunningTasks(t *testing.T) {
	t.Parallel()
	started, release := make(chan struct{}), make(chan struct{})
	pool := NewWorkerPool(func(int) {
		close(started)
		<-release
	})
	require.True(t, pool.Go(1))
	<-started
	idle := pool.Stop()
	select {
	case <-idle:
		assert.Fail(t, "idle while a task was running")
	default:
	}
	assert.False(t, pool.Go(2))
	close(release)
	<-idle
	<-pool.Stop()
	pool.Wait()
}

// Idle goroutines must not delay Stop.
func TestWorkerPool_StopIsImmediateIfNoTaskRuns(t *testing.T) {
	t.Parallel()
	pool := NewWorkerPool(func(int) {})
	require.True(t, pool.Go(1))
	require.Eventually(t, func() bool {
		waiting := int32(0)
		for i := range pool.idle {
			waiting += pool.idle[i].count.Load()
		}
		return waiting == 1
	}, 10*time.Second, time.Millisecond)
	select {
	case <-pool.Stop():
	default:
		assert.Fail(t, "a task is running")
	}
}

func TestWorkerPool_TaskMayCallGoexit(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	all.Add(10)
	pool := NewWorkerPool(func(int) {
		defer all.Done()
		runtime.Goexit()
	})
	for task := range 10 {
		require.True(t, pool.Go(task))
	}
	all.Wait()
	<-pool.Stop()
	pool.Wait()
}

// Every task that Go has accepted must run, however Go and Stop interleave.
func TestWorkerPool_ConcurrentStop(t *testing.T) {
	t.Parallel()
	for range 50 {
		var accepted, ran atomic.Int64
		pool := NewWorkerPool(func(int) { ran.Add(1) })
		var starting sync.WaitGroup
		for range 4 {
			starting.Go(func() {
				for pool.Go(0) {
					accepted.Add(1)
				}
			})
		}
		runtime.Gosched()
		<-pool.Stop()
		pool.Wait()
		after := ran.Load()
		starting.Wait()
		require.Equal(t, accepted.Load(), after)
	}
}
