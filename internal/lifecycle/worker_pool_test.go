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

func TestWorkers_RunsEveryJobOnce(t *testing.T) {
	t.Parallel()
	const jobs = 10_000
	var ran [jobs]atomic.Int64
	var all sync.WaitGroup
	all.Add(jobs)
	workers := NewWorkerPool(func(job int) {
		defer all.Done()
		ran[job].Add(1)
	})
	for job := range jobs {
		require.True(t, workers.Go(job))
	}
	all.Wait()
	<-workers.Stop()
	workers.Wait()
	for job := range ran {
		require.EqualValues(t, 1, ran[job].Load())
	}
}

func TestWorkers_JobsDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	const jobs = 3 * maxIdle
	var started sync.WaitGroup
	started.Add(jobs)
	release := make(chan struct{})
	workers := NewWorkerPool(func(int) {
		started.Done()
		<-release
	})
	for job := range jobs {
		require.True(t, workers.Go(job))
	}
	started.Wait()
	close(release)
	idle := func() (n int32, most int32) {
		for i := range workers.idle {
			n += workers.idle[i].count.Load()
			most = max(most, workers.idle[i].count.Load())
		}
		return n, most
	}
	require.Eventually(t, func() bool { // whoever is done waits for another job, but not more than some
		n, most := idle()
		return n >= maxIdle && most <= maxIdle
	}, 10*time.Second, time.Millisecond)
	<-workers.Stop()
	workers.Wait()
	n, _ := idle()
	assert.Zero(t, n)
}

func TestWorkers_StopWaitsForRunningJobs(t *testing.T) {
	t.Parallel()
	started, release := make(chan struct{}), make(chan struct{})
	workers := NewWorkerPool(func(int) {
		close(started)
		<-release
	})
	require.True(t, workers.Go(1))
	<-started
	idle := workers.Stop()
	select {
	case <-idle:
		assert.Fail(t, "idle while a job was running")
	default:
	}
	assert.False(t, workers.Go(2))
	close(release)
	<-idle
	<-workers.Stop()
	workers.Wait()
}

// Goroutines that only wait for a job hold up nobody who stops the workers.
func TestWorkers_StopsAtOnceIfNoJobRuns(t *testing.T) {
	t.Parallel()
	workers := NewWorkerPool(func(int) {})
	require.True(t, workers.Go(1))
	require.Eventually(t, func() bool {
		waiting := int32(0)
		for i := range workers.idle {
			waiting += workers.idle[i].count.Load()
		}
		return waiting == 1
	}, 10*time.Second, time.Millisecond)
	select {
	case <-workers.Stop():
	default:
		assert.Fail(t, "a job is running")
	}
}

func TestWorkers_AJobMayEndItsGoroutine(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	all.Add(10)
	workers := NewWorkerPool(func(int) {
		defer all.Done()
		runtime.Goexit()
	})
	for job := range 10 {
		require.True(t, workers.Go(job))
	}
	all.Wait()
	<-workers.Stop()
	workers.Wait()
}

// A job that was taken runs, however starting, becoming idle and stopping interleave.
func TestWorkers_StoppedMeanwhile(t *testing.T) {
	t.Parallel()
	for range 50 {
		var taken, ran atomic.Int64
		workers := NewWorkerPool(func(int) { ran.Add(1) })
		var starting sync.WaitGroup
		for range 4 {
			starting.Go(func() {
				for workers.Go(0) {
					taken.Add(1)
				}
			})
		}
		runtime.Gosched()
		<-workers.Stop()
		workers.Wait()
		after := ran.Load()
		starting.Wait()
		require.Equal(t, taken.Load(), after)
	}
}
