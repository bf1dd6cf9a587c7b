package call

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// lifetime records whether an engine or its bus is closed, and tracks the goroutines and children
// that end with the engine.
type lifetime struct {
	// ctx ends with the cause errors.ErrClientClosed when the engine is closed, and with the cause
	// bus.ErrClosed when the bus is closed.
	ctx    context.Context //nolint:containedctx // lasts as long as the engine, not one operation
	cancel context.CancelCauseFunc
	// goroutines counts the goroutines for which Engine.Close waits. None is added after ctx has
	// ended.
	goroutines sync.WaitGroup

	mu sync.Mutex
	// children holds the open streams and subscriptions.
	children map[Child]struct{}
}

// Child is a stream or subscription that ends when the engine or the bus is closed.
type Child interface {
	// End ends the stream or subscription with the error err and returns when it has ended. It may
	// be called more than once; only the first error is used.
	End(err error)
}

// Done returns a channel that is closed when the engine or its bus is closed.
func (l *lifetime) Done() <-chan struct{} { return l.ctx.Done() }

// Err returns errors.ErrClientClosed if the engine has been closed, bus.ErrClosed if its bus has
// been closed, and nil otherwise. Every call checks Err several times. While the engine is open,
// Err takes no lock, so concurrent calls do not slow each other down.
func (l *lifetime) Err() error {
	select {
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	default:
		return nil
	}
}

// closeError returns the error of a closed engine, and the reason to record for a call that fails
// with that error.
func (l *lifetime) closeError() (error, errors.Reason) { //nolint:staticcheck // passed to withFacts
	err := l.Err()
	if errors.Is(err, bus.ErrClosed) {
		return err, errors.ReasonBusDown
	}
	return err, errors.ReasonClosed
}

// Go runs f on a goroutine for which [Engine.Close] waits. f must return when the engine is closed.
// If the engine is already closed, Go returns an error and does not run f.
func (l *lifetime) Go(f func()) error {
	// Close first cancels ctx, then locks mu, and then waits for the goroutines. If ctx has not
	// ended here, Close cannot have locked mu yet, so it will also wait for the new goroutine.
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	l.goroutines.Go(f)
	return nil
}

// Track adds a stream or subscription to the children. It returns an error if the engine is already
// closed. From then on, the child may be ended at any time.
func (l *lifetime) Track(child Child) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	if l.children == nil {
		l.children = map[Child]struct{}{}
	}
	l.children[child] = struct{}{}
	return nil
}

// Untrack removes a stream or subscription that has ended.
func (l *lifetime) Untrack(child Child) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.children, child)
}

// endChildren ends all streams and subscriptions and returns when they have ended. It must be
// called after ctx has ended.
func (l *lifetime) endChildren() {
	l.mu.Lock()
	children := slices.Collect(maps.Keys(l.children))
	l.mu.Unlock()
	var ending sync.WaitGroup
	for _, child := range children {
		ending.Go(func() { child.End(l.Err()) })
	}
	ending.Wait()
}
