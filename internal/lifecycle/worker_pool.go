package lifecycle

import (
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

// maxIdle bounds the goroutines that each processor keeps for later, and with them the memory of their stacks.
const maxIdle = 128

// WorkerPool run jobs of type T, each at once and on a goroutine of its own, as a go statement does. They use the
// goroutines again, first the last one that did a job for the processor: its stack has grown already and is still in
// the cache. The number of jobs at a time is not limited. All methods may be called together from many goroutines. Make
// some with [NewWorkerPool].
type WorkerPool[T any] struct {
	run        func(T)
	running    InFlight // inside: goroutines, until they end or are dismissed
	goroutines sync.WaitGroup
	idle       [shard.Count]idleList[T]
}

// idleList are those that did their last job for one processor.
type idleList[T any] struct {
	mu      sync.Mutex
	closed  bool
	workers []worker[T]
	count   atomic.Int32              // of workers, for those who look without the lock
	_       [shard.CacheLineSize]byte // processors do not share one
}

// worker is a goroutine.
type worker[T any] struct {
	assignments chan assignment[T] // what it waits for; has room for one; closed to dismiss it
	token       *Token             // in the gate: left by Stop if that dismisses it, else by itself
}

// assignment is a job for a processor.
type assignment[T any] struct {
	task  T
	shard int
}

// NewWorkerPool returns workers that call run with each job. They must be stopped.
func NewWorkerPool[T any](run func(T)) *WorkerPool[T] { return &WorkerPool[T]{run: run} }

// Go starts a job and does not wait for it. It reports false if the workers were stopped.
func (w *WorkerPool[T]) Go(job T) bool {
	next := assignment[T]{job, shard.Current()}
	if tasks := w.takeIdle(next.shard); tasks != nil {
		tasks <- next
		return true
	}
	token := w.running.Enter()
	if token == nil {
		return false
	}
	w.goroutines.Add(1)
	go w.work(worker[T]{make(chan assignment[T], 1), token}, next) // Wait waits for it
	return true
}

// takeIdle returns what an idle goroutine waits for, nil if none is idle. It prefers the processor's own.
func (w *WorkerPool[T]) takeIdle(own int) chan assignment[T] {
	for i := range shard.Count {
		if tasks := w.idle[(own+i)%shard.Count].pop(); tasks != nil {
			return tasks
		}
	}
	return nil
}

// pop returns nil if no goroutine is idle.
func (i *idleList[T]) pop() (tasks chan assignment[T]) {
	if i.count.Load() == 0 {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if last := len(i.workers) - 1; last >= 0 {
		tasks, i.workers[last], i.workers = i.workers[last].assignments, worker[T]{}, i.workers[:last]
		i.count.Store(int32(last)) //nolint:gosec // at most maxIdle
	}
	return tasks
}

// push reports false if a goroutine is not to wait for a job.
func (i *idleList[T]) push(w worker[T]) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed || len(i.workers) == maxIdle {
		return false
	}
	i.workers = append(i.workers, w)
	i.count.Store(int32(len(i.workers))) //nolint:gosec // at most maxIdle
	return true
}

// close takes no more goroutines, and returns those that were idle.
func (i *idleList[T]) close() []worker[T] {
	i.mu.Lock()
	defer i.mu.Unlock()
	idle := i.workers
	i.closed, i.workers = true, nil
	i.count.Store(0)
	return idle
}

func (w *WorkerPool[T]) work(own worker[T], next assignment[T]) {
	defer w.goroutines.Done()
	dismissed := false
	defer func() {
		if !dismissed { // a job may have ended the goroutine
			w.running.Leave(own.token)
		}
	}()
	for !dismissed {
		w.run(next.task)
		if !w.idle[next.shard].push(own) {
			return
		}
		var more bool
		next, more = <-own.assignments
		dismissed = !more
	}
}

// Stop takes no more jobs, dismisses the goroutines that wait for one, and returns a channel that is closed when no job is
// running. It may be called more than once.
func (w *WorkerPool[T]) Stop() (idle <-chan struct{}) {
	for i := range w.idle {
		for _, worker := range w.idle[i].close() {
			close(worker.assignments)
			w.running.Leave(worker.token) // here, so that the channel is closed at once if no job is running
		}
	}
	return w.running.Close()
}

// Wait returns when all goroutines have ended, which is soon: it must be called after what Stop returned was closed.
func (w *WorkerPool[T]) Wait() { w.goroutines.Wait() }
