package lifecycle

import (
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

// maxIdle bounds the goroutines that each processor keeps for later, and with them the memory of their stacks.
const maxIdle = 128

// Workers run jobs of type T, each at once and on a goroutine of its own, as a go statement does. They use the
// goroutines again, first the last one that did a job for the processor: its stack has grown already and is still in
// the cache. The number of jobs at a time is not limited. Make some with [NewWorkers].
type Workers[T any] struct {
	run     func(T)
	workers WideGate // inside: goroutines
	running WideGate // inside: jobs
	idle    [shard.Count]idleWorkers[T]
}

// idleWorkers are those that did their last job for one processor.
type idleWorkers[T any] struct {
	mu      sync.Mutex
	stopped bool
	queues  []chan task[T]   // what they wait for: each has room for one
	count   atomic.Int32     // of queues, for those who look without the lock
	_       [shard.Line]byte // processors do not share one
}

// task is a job that is counted as running, for a processor.
type task[T any] struct {
	job     T
	running *Place
	shard   int
}

// NewWorkers returns workers that call run with each job. They must be stopped.
func NewWorkers[T any](run func(T)) *Workers[T] { return &Workers[T]{run: run} }

// Go starts a job and does not wait for it. It reports false if the workers were stopped.
func (w *Workers[T]) Go(job T) bool {
	running := w.running.Enter()
	if running == nil {
		return false
	}
	next := task[T]{job, running, shard.Own()}
	if queue := w.takeIdle(next.shard); queue != nil {
		queue <- next
		return true
	}
	place := w.workers.Enter()
	if place == nil {
		w.running.Leave(running)
		return false
	}
	go w.work(next, place) // whoever calls Stop can wait for it
	return true
}

// takeIdle returns nil if no goroutine is idle. It prefers the processor's own.
func (w *Workers[T]) takeIdle(own int) chan task[T] {
	for i := range shard.Count {
		if queue := w.idle[(own+i)%shard.Count].take(); queue != nil {
			return queue
		}
	}
	return nil
}

// take returns nil if no goroutine is idle.
func (i *idleWorkers[T]) take() (queue chan task[T]) {
	if i.count.Load() == 0 {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if last := len(i.queues) - 1; last >= 0 {
		queue, i.queues[last], i.queues = i.queues[last], nil, i.queues[:last]
		i.count.Store(int32(last)) //nolint:gosec // at most maxIdle
	}
	return queue
}

// offer reports false if a goroutine is not to wait for a job.
func (i *idleWorkers[T]) offer(queue chan task[T]) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.stopped || len(i.queues) == maxIdle {
		return false
	}
	i.queues = append(i.queues, queue)
	i.count.Store(int32(len(i.queues))) //nolint:gosec // at most maxIdle
	return true
}

func (i *idleWorkers[T]) stop() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stopped = true
	for _, queue := range i.queues {
		close(queue)
	}
	i.queues = nil
	i.count.Store(0)
}

func (w *Workers[T]) work(next task[T], place *Place) {
	defer w.workers.Leave(place) // also if a job ends its goroutine
	queue := make(chan task[T], 1)
	for more := true; more; {
		w.do(next)
		if !w.idle[next.shard].offer(queue) {
			return
		}
		next, more = <-queue
	}
}

func (w *Workers[T]) do(t task[T]) {
	defer w.running.Leave(t.running) // also if the job ends its goroutine
	w.run(t.job)
}

// Stop takes no more jobs and returns two channels: idle is closed when no job is running, and ended right after
// that, when all goroutines have ended. It may be called more than once, by one goroutine at a time.
func (w *Workers[T]) Stop() (idle, ended <-chan struct{}) {
	for i := range w.idle {
		w.idle[i].stop()
	}
	return w.running.Close(), w.workers.Close()
}
