package explorer

import (
	"context"
	"sync"
	"time"
)

// sharedTimeout limits how long a shared function may run.
const sharedTimeout = time.Minute

// shared runs a function and shares its result between requests. Requests that arrive while it runs
// wait for the same result. It is safe for concurrent use.
type shared[T any] struct {
	ctx   context.Context //nolint:containedctx // the function goes on if one of the requests ends
	tasks *tasks
	// keep is how long a result is reused.
	keep time.Duration
	run  func(context.Context) (T, error)

	mu      sync.Mutex
	current *result[T]
}

// result is the result of a shared function. After done is closed, the other fields may be read.
type result[T any] struct {
	done  chan struct{}
	ended time.Time
	value T
	err   error
}

func newShared[T any](
	ctx context.Context, tasks *tasks, keep time.Duration, run func(context.Context) (T, error),
) *shared[T] {
	return &shared[T]{ctx: ctx, tasks: tasks, keep: keep, run: run}
}

// get returns the result of the function. It returns the error of ctx if ctx ends first.
func (s *shared[T]) get(ctx context.Context) (value T, err error) {
	current := s.start()
	select {
	case <-current.done:
		return current.value, current.err
	case <-ctx.Done():
		return value, ctx.Err()
	}
}

// start returns the current result. If there is none, it starts the function.
func (s *shared[T]) start() *result[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && !s.current.isOver(s.keep) {
		return s.current
	}
	current := &result[T]{done: make(chan struct{})}
	s.current = current
	running := s.tasks.run(func() {
		ctx, cancel := context.WithTimeout(s.ctx, sharedTimeout)
		defer cancel()
		current.value, current.err = s.run(ctx)
		current.ended = time.Now()
		close(current.done)
	})
	if !running {
		current.err = errClosed
		close(current.done)
	}
	return current
}

// isOver reports whether the result must not be reused, because the function has failed or the
// result is older than keep.
func (r *result[T]) isOver(keep time.Duration) bool {
	select {
	case <-r.done:
		return r.err != nil || time.Since(r.ended) >= keep
	default:
		return false
	}
}
