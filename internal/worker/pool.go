package worker

import (
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

// maxIdle bounds the goroutines that a pool keeps for later, and with them the memory of their stacks.
const maxIdle = 128

// Pool runs jobs of type T. The number of jobs at a time is not limited. Make one with [New].
type Pool[T any] struct {
	run     func(T)
	jobs    chan T // unbuffered: only a goroutine that is idle takes one
	idle    atomic.Int64
	workers *lifecycle.Gate // inside: goroutines
	stop    chan struct{}
}

// New returns a pool that calls run with each job. It must be stopped.
func New[T any](run func(T)) *Pool[T] {
	return &Pool[T]{run: run, jobs: make(chan T), workers: lifecycle.NewGate(), stop: make(chan struct{})}
}

// Go starts a job and does not wait for it. It reports false if the pool was stopped.
func (p *Pool[T]) Go(job T) bool {
	select {
	case p.jobs <- job:
		return true
	default:
	}
	if !p.workers.Enter() {
		return false
	}
	go p.work(job) // whoever calls Stop can wait for it
	return true
}

func (p *Pool[T]) work(job T) {
	defer p.workers.Leave() // also if a job ends its goroutine
	for {
		p.run(job)
		if p.idle.Add(1) > maxIdle {
			p.idle.Add(-1)
			return
		}
		select {
		case job = <-p.jobs:
			p.idle.Add(-1)
		case <-p.stop:
			return
		}
	}
}

// Stop takes no more jobs and returns a channel that is closed when all goroutines have ended, those that run
// jobs included. It may be called more than once, by one goroutine at a time.
func (p *Pool[T]) Stop() <-chan struct{} {
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
	return p.workers.Close()
}
