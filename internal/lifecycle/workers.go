package lifecycle

import "sync"

// maxIdle bounds the goroutines that are kept for later, and with them the memory of their stacks.
const maxIdle = 128

// Workers run jobs of type T, each at once and on a goroutine of its own, as a go statement does. They use the
// goroutines again, the last one to become idle first: its stack has grown already and is still in the cache. The
// number of jobs at a time is not limited. Make some with [NewWorkers].
type Workers[T any] struct {
	run     func(T)
	workers *Gate // inside: goroutines
	running *Gate // inside: jobs

	mu      sync.Mutex
	stopped bool
	idle    []chan T // what idle goroutines wait for: each has room for one job
}

// NewWorkers returns workers that call run with each job. They must be stopped.
func NewWorkers[T any](run func(T)) *Workers[T] {
	return &Workers[T]{run: run, workers: NewGate(), running: NewGate()}
}

// Go starts a job and does not wait for it. It reports false if the workers were stopped.
func (w *Workers[T]) Go(job T) bool {
	if !w.running.Enter() {
		return false
	}
	if jobs := w.takeIdle(); jobs != nil {
		jobs <- job
		return true
	}
	if !w.workers.Enter() {
		w.running.Leave()
		return false
	}
	go w.work(job) // whoever calls Stop can wait for it
	return true
}

// takeIdle returns nil if no goroutine is idle.
func (w *Workers[T]) takeIdle() (jobs chan T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := len(w.idle) - 1; last >= 0 {
		jobs, w.idle[last], w.idle = w.idle[last], nil, w.idle[:last]
	}
	return jobs
}

// offer reports false if a goroutine is not to wait for a job.
func (w *Workers[T]) offer(jobs chan T) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped || len(w.idle) == maxIdle {
		return false
	}
	w.idle = append(w.idle, jobs)
	return true
}

func (w *Workers[T]) work(job T) {
	defer w.workers.Leave() // also if a job ends its goroutine
	jobs := make(chan T, 1)
	for more := true; more; {
		w.do(job)
		if !w.offer(jobs) {
			return
		}
		job, more = <-jobs
	}
}

func (w *Workers[T]) do(job T) {
	defer w.running.Leave() // also if the job ends its goroutine
	w.run(job)
}

// Stop takes no more jobs and returns two channels: idle is closed when no job is running, and ended right after
// that, when all goroutines have ended. It may be called more than once, by one goroutine at a time.
func (w *Workers[T]) Stop() (idle, ended <-chan struct{}) {
	w.mu.Lock()
	w.stopped = true
	for _, jobs := range w.idle {
		close(jobs)
	}
	w.idle = nil
	w.mu.Unlock()
	return w.running.Close(), w.workers.Close()
}
