package lifecycle

import (
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

// maxIdle is the maximum number of idle goroutines per shard. It bounds the memory that their
// stacks keep.
const maxIdle = 128

// WorkerPool runs tasks of type T concurrently, each on a goroutine of its own, like a go
// statement. It does not limit the number of tasks that run at a time.
//
// Goroutines are reused, because the stack of a new goroutine is small and has to grow, by copying,
// while it runs a handler. Each shard keeps its idle goroutines in last-in, first-out order: the
// goroutine that finished last on this processor runs the next task, while its stack is still in
// the cache. Without reuse an in-process call with one caller takes 1.39 times as long.
//
// All methods may be called concurrently. Use [NewWorkerPool] to create a pool.
type WorkerPool[T any] struct {
	run func(T)
	// running counts the goroutines that run a task or are idle.
	running    InFlight
	goroutines sync.WaitGroup
	idle       [shard.Count]idleList[T]
}

// idleList is the stack of the idle goroutines that ran their last task on one shard.
type idleList[T any] struct {
	mu      sync.Mutex
	closed  bool
	workers []worker[T]
	// count is the length of workers. pop reads it to skip empty lists without locking mu.
	count atomic.Int32
	// The padding keeps the lists of two shards out of one cache line.
	_ [shard.CacheLineSize]byte
}

// worker is one goroutine of the pool.
type worker[T any] struct {
	// assignments has capacity one. The worker waits on it while it is idle, and ends when Stop
	// closes it.
	assignments chan assignment[T]
	// token counts the worker in WorkerPool.running. Stop releases it for idle workers. A worker
	// that ends in any other way releases it itself.
	token *Token
}

// assignment is a task, with the index of the shard on which it was started.
type assignment[T any] struct {
	task  T
	shard int
}

// NewWorkerPool returns a pool that calls run with each task. The caller must call Stop and Wait.
func NewWorkerPool[T any](run func(T)) *WorkerPool[T] { return &WorkerPool[T]{run: run} }

// Go starts task and does not wait for it. It returns false, without running task, if the pool was
// stopped.
func (p *WorkerPool[T]) Go(task T) bool {
	next := assignment[T]{task, shard.Current()}
	if assignments := p.takeIdle(next.shard); assignments != nil {
		assignments <- next
		return true
	}
	token := p.running.Enter()
	if token == nil {
		return false
	}
	p.goroutines.Add(1)
	go p.work(worker[T]{make(chan assignment[T], 1), token}, next) // Wait waits for it
	return true
}

// takeIdle returns the channel of an idle worker, or nil if all are busy. It looks at the shard
// with index current first, and then at the others.
func (p *WorkerPool[T]) takeIdle(current int) chan assignment[T] {
	for i := range shard.Count {
		if assignments := p.idle[(current+i)%shard.Count].pop(); assignments != nil {
			return assignments
		}
	}
	return nil
}

// work runs next, and then further tasks, until the worker is stopped or not needed any more.
func (p *WorkerPool[T]) work(self worker[T], next assignment[T]) {
	defer p.goroutines.Done()
	stopped := false
	defer func() {
		// A task may end the goroutine with runtime.Goexit, hence the deferred call.
		if !stopped {
			p.running.Leave(self.token)
		}
	}()
	for !stopped {
		p.run(next.task)
		if !p.idle[next.shard].push(self) {
			return
		}
		var ok bool
		next, ok = <-self.assignments
		stopped = !ok
	}
}

// Stop makes further calls of Go fail and ends the idle goroutines. It returns a channel that is
// closed when no task is running. It may be called more than once.
func (p *WorkerPool[T]) Stop() (idle <-chan struct{}) {
	for i := range p.idle {
		for _, worker := range p.idle[i].close() {
			close(worker.assignments)
			// Stop releases the token, not the worker, so that the returned channel is already
			// closed if no task is running.
			p.running.Leave(worker.token)
		}
	}
	return p.running.Close()
}

// Wait waits until all goroutines of the pool have ended. It must be called after the channel that
// Stop returned is closed.
func (p *WorkerPool[T]) Wait() { p.goroutines.Wait() }

// pop removes the worker that became idle last and returns its channel, or nil if the list is
// empty.
func (l *idleList[T]) pop() (assignments chan assignment[T]) {
	if l.count.Load() == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if last := len(l.workers) - 1; last >= 0 {
		assignments, l.workers[last], l.workers = l.workers[last].assignments, worker[T]{}, l.workers[:last]
		l.count.Store(int32(last)) //nolint:gosec // at most maxIdle
	}
	return assignments
}

// push adds an idle worker. It returns false if the list is full or closed: the worker must then
// end.
func (l *idleList[T]) push(w worker[T]) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.workers) == maxIdle {
		return false
	}
	l.workers = append(l.workers, w)
	l.count.Store(int32(len(l.workers))) //nolint:gosec // at most maxIdle
	return true
}

// close makes further calls of push fail and returns the workers that were idle.
func (l *idleList[T]) close() []worker[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	idle := l.workers
	l.closed, l.workers = true, nil
	l.count.Store(0)
	return idle
}
