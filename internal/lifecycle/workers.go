package lifecycle

import "sync/atomic"

// maxIdle bounds the goroutines that are kept for later, and with them the memory of their stacks.
const maxIdle = 128

// Workers run jobs of type T, each at once and on a goroutine of its own, as a go statement does. They use the
// goroutines again: their stacks have grown already, which is a good part of the cost of a short job. The number
// of jobs at a time is not limited. Make some with [NewWorkers].
type Workers[T any] struct {
	run     func(T)
	jobs    chan T // unbuffered: only a goroutine that is idle takes one
	idle    atomic.Int64
	workers *Gate // inside: goroutines
	running *Gate // inside: jobs
	stop    chan struct{}
}

// NewWorkers returns workers that call run with each job. They must be stopped.
func NewWorkers[T any](run func(T)) *Workers[T] {
	return &Workers[T]{run: run, jobs: make(chan T), workers: NewGate(), running: NewGate(), stop: make(chan struct{})}
}

// Go starts a job and does not wait for it. It reports false if the workers were stopped.
func (w *Workers[T]) Go(job T) bool {
	if !w.running.Enter() {
		return false
	}
	select {
	case w.jobs <- job:
		return true
	default:
	}
	if !w.workers.Enter() {
		w.running.Leave()
		return false
	}
	go w.work(job) // whoever calls Stop can wait for it
	return true
}

func (w *Workers[T]) work(job T) {
	defer w.workers.Leave() // also if a job ends its goroutine
	for {
		w.do(job)
		if w.idle.Add(1) > maxIdle {
			w.idle.Add(-1)
			return
		}
		select {
		case job = <-w.jobs:
			w.idle.Add(-1)
		case <-w.stop:
			return
		}
	}
}

func (w *Workers[T]) do(job T) {
	defer w.running.Leave() // also if the job ends its goroutine
	w.run(job)
}

// Stop takes no more jobs and returns two channels: idle is closed when no job is running, and ended right after
// that, when all goroutines have ended. It may be called more than once, by one goroutine at a time.
func (w *Workers[T]) Stop() (idle, ended <-chan struct{}) {
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	return w.running.Close(), w.workers.Close()
}
