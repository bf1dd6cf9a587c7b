package wasm

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// pool holds the instances of a plugin. Instances start on demand and are kept for later requests.
// The instance that was released last is acquired first, because its memory is most likely in the
// processor's caches.
type pool struct {
	newInstance func(ctx context.Context) (*instance, error)
	// semaphore holds one element for each acquired instance. Its capacity is the instance limit.
	semaphore chan struct{}

	mu     sync.Mutex
	idle   []*instance
	closed bool
}

func newPool(instances int, newInstance func(ctx context.Context) (*instance, error)) *pool {
	return &pool{newInstance: newInstance, semaphore: make(chan struct{}, instances)}
}

// acquire returns an instance for the exclusive use of the caller, who must release or discard it.
// If ctx ends before an instance is free, acquire fails with [errors.Canceled] if the request was
// canceled and with [errors.ResourceExhausted] otherwise.
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
		// A start does not end with the request. Otherwise requests with little time left would
		// abort one start after the other, and the pool would never get an instance.
		in, err = p.newInstance(context.WithoutCancel(ctx))
	}
	if err != nil {
		<-p.semaphore
		return nil, err
	}
	if ctx.Err() != nil { // a call would fail now, and the instance would be discarded for nothing
		p.release(in)
		return nil, p.acquireError(ctx)
	}
	return in, nil
}

// acquireError returns the error of a request whose context ended before an instance was free.
func (p *pool) acquireError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return errors.FromContext(ctx.Err())
	}
	return errors.NewErrorf(errors.ResourceExhausted,
		"no plugin instance became free before the request's deadline: the limit is %d instances", cap(p.semaphore))
}

// popIdle removes the instance that was released last and returns it, or nil if none is idle.
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

// addIdle adds an instance that was not acquired, such as the one that was started at load.
func (p *pool) addIdle(in *instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, in)
}

// discard closes an acquired instance. A later request starts another.
func (p *pool) discard(in *instance) {
	in.close()
	<-p.semaphore
}

// close makes acquire fail. Closing the runtime closes the instances.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.idle = nil
}
