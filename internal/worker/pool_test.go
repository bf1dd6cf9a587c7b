package worker

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPool_RunsEveryJobOnce(t *testing.T) {
	t.Parallel()
	const jobs = 10_000
	var ran [jobs]atomic.Int64
	var all sync.WaitGroup
	all.Add(jobs)
	pool := New(func(job int) {
		defer all.Done()
		ran[job].Add(1)
	})
	for job := range jobs {
		require.True(t, pool.Go(job))
	}
	all.Wait()
	<-pool.Stop()
	for job := range ran {
		require.EqualValues(t, 1, ran[job].Load())
	}
}

func TestPool_JobsDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	const jobs = 3 * maxIdle
	var started sync.WaitGroup
	started.Add(jobs)
	release := make(chan struct{})
	pool := New(func(int) {
		started.Done()
		<-release
	})
	for job := range jobs {
		require.True(t, pool.Go(job))
	}
	started.Wait()
	close(release)
	<-pool.Stop()
	assert.LessOrEqual(t, pool.idle.Load(), int64(maxIdle))
}

func TestPool_StopWaitsForRunningJobs(t *testing.T) {
	t.Parallel()
	started, release := make(chan struct{}), make(chan struct{})
	pool := New(func(int) {
		close(started)
		<-release
	})
	require.True(t, pool.Go(1))
	<-started
	stopped := pool.Stop()
	select {
	case <-stopped:
		assert.Fail(t, "stopped while a job was running")
	default:
	}
	assert.False(t, pool.Go(2))
	close(release)
	<-stopped
	<-pool.Stop()
}

func TestPool_AJobMayEndItsGoroutine(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	all.Add(10)
	pool := New(func(int) {
		defer all.Done()
		runtime.Goexit()
	})
	for job := range 10 {
		require.True(t, pool.Go(job))
	}
	all.Wait()
	<-pool.Stop()
}
