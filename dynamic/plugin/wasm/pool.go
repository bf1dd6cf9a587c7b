package wasm

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// pool holds the instances of a plugin. Instances are started on demand and kept for later
// requests. The instance that was released most recently is used first, because its memory is most
// likely to be in the CPU caches.
type pool struct {
	newInstance func(ctx context.Context) (*instance, error)
	// semaphore contains one element for each acquired instance. Its capacity is the maximum number
	// of instances.
	semaphore chan struct{}

	mu     sync.Mutex
	idle   []*instance
	closed bool
}

func newPool(instances int, newInstance func(ctx context.Context) (*instance, error)) *pool {
	return &pool{newInstance: newInstance, semaphore: make(chan struct{}, instances)}
}

// acquire returns an instance for the exclusive use of the caller, who must release or discard it.
// If ctx ends before an instance is free, acquire returns an error. The error has the code
// [errors.Canceled] if ctx was canceled, and [errors.ResourceExhausted] otherwise.
func (p *pool) acquire(ctx context.Context) (*instance, error) {
	select {
	case p.semaphore <- struct{}{}:
	default:
		select {
		case p.semaphore <- struct{}{}:
		case <-ctx.Done():
			return nil, p.acquireError(ctx)
		}
	}
	in, err := p.popIdle()
	if in == nil && err == nil {
		// An instance continues to start even if the request ends, so that later requests can use
		// it. Otherwise, requests with little time left could abort one start after another, and
		// the pool would never have an instance.
		in, err = p.newInstance(context.WithoutCancel(ctx))
	}
	if err != nil {
		<-p.semaphore
		return nil, err
	}
	// If ctx has ended, a call would fail at once, and the instance would have to be discarded.
	if ctx.Err() != nil {
		p.release(in)
		return nil, p.acquireError(ctx)
	}
	return in, nil
}

// acquireError returns the error for a request whose context ended before an instance was free.
func (p *pool) acquireError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return errors.FromContext(ctx.Err())
	}
	return errors.NewErrorf(errors.ResourceExhausted,
		"no plugin instance became free before the request's deadline: the limit is %d instances", cap(p.semaphore))
}

// popIdle removes and returns the most recently released instance. It returns nil if no instance is
// idle, and an error if the pool is closed.
func (p *pool) popIdle() (*instance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.NewErrorf(errors.Unavailable, "plugin is unloaded")
	}
	last := len(p.idle) - 1
	if last < 0 {
		return nil, nil //nolint:nilnil // an empty pool is not an error
	}
	in := p.idle[last]
	p.idle = p.idle[:last]
	return in, nil
}

// release returns an acquired instance to the pool.
func (p *pool) release(in *instance) {
	p.addIdle(in)
	<-p.semaphore
}

// addIdle adds an instance to the idle instances. Unlike release, it does not change the semaphore,
// so it can add an instance that was not acquired from the pool.
func (p *pool) addIdle(in *instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, in)
}

// discard closes an acquired instance and removes it from the pool. If necessary, a later request
// starts a new instance.
func (p *pool) discard(in *instance) {
	in.close()
	<-p.semaphore
}

// close makes all later calls to acquire fail. It does not close the instances, because they are
// closed together with the runtime.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.idle = nil
}
