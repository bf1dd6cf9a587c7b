package wasm

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// pool is the instances of a plugin. They are made when they are needed, and kept.
type pool struct {
	newInstance   func(ctx context.Context) (*instance, error)
	semaphore chan struct{} // one in it for each instance that is taken

	mu     sync.Mutex
	idle   []*instance
	closed bool
}

func newPool(instances int, start func(ctx context.Context) (*instance, error)) *pool {
	return &pool{newInstance: start, semaphore: make(chan struct{}, instances)}
}

// acquire returns an instance that nobody else has, until put or discard. If ctx ends before one is free, that is
// [errors.ResourceExhausted], or [errors.Canceled] if the request was.
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
		// Not in the time of the request: one that has little left would end each start in vain.
		in, err = p.newInstance(context.WithoutCancel(ctx))
	}
	if err != nil {
		<-p.semaphore
		return nil, err
	}
	if ctx.Err() != nil { // it would be thrown away for nothing
		p.release(in)
		return nil, p.acquireError(ctx)
	}
	return in, nil
}

// acquireError is the error of a request whose context has ended before it could be handled.
func (p *pool) acquireError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return errors.FromContext(ctx.Err())
	}
	return errors.NewErrorf(errors.ResourceExhausted,
		"no instance of the plugin was free in the time of the request: there are %d at most", cap(p.semaphore))
}

// popIdle returns an idle instance, the one that was used last, or nil.
func (p *pool) popIdle() (*instance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.NewErrorf(errors.Unavailable, "the plugin was unloaded")
	}
	last := len(p.idle) - 1
	if last < 0 {
		return nil, nil //nolint:nilnil // none is no error
	}
	in := p.idle[last]
	p.idle = p.idle[:last]
	return in, nil
}

// release gives an instance back.
func (p *pool) release(in *instance) {
	p.addIdle(in)
	<-p.semaphore
}

// addIdle makes an instance available that was not taken.
func (p *pool) addIdle(in *instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, in)
}

// discard throws an instance away that was taken.
func (p *pool) discard(in *instance) {
	in.close()
	<-p.semaphore
}

// close refuses further requests. The instances are closed with their runtime.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.idle = nil
}
