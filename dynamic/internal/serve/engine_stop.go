package serve

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

// Shutdown stops accepting requests and waits for running handlers to return. If ctx ends first, it
// cancels the contexts of the handlers and returns an error that wraps ctx.Err() and names the
// services that were still busy. It also returns an error if the bus has not ended all
// subscriptions by then. Every call waits for running handlers. ctx must not be nil.
func (e *Engine) Shutdown(ctx context.Context) error {
	services, first := e.markClosed()
	if first {
		e.recordChange(ServerClosing, nil)
	}
	errs := make([]error, len(services))
	var closing sync.WaitGroup
	for i, s := range services {
		closing.Go(func() { errs[i] = s.Close(ctx) })
	}
	closing.Wait()
	idle := e.stop()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	// The loop above has not waited for the handlers of services that were killed earlier, because
	// these services are no longer registered.
	if err := lifecycle.Wait(ctx, idle); err != nil {
		return errors.NewErrorf(errors.FromContext(err).Code(),
			"server %s: handlers were still running: %w", e.ID, err)
	}
	e.workers.Wait()
	return nil
}

// Kill stops accepting requests and cancels the contexts of running handlers, without waiting for
// them to return. If the broker does not answer, Kill returns after Timeout plus one second.
func (e *Engine) Kill() {
	var killing sync.WaitGroup
	services, _ := e.markClosed()
	for _, s := range services {
		killing.Go(s.Kill)
	}
	killing.Wait()
	e.stop()
}

// Done returns a channel that is closed when the engine has been stopped by Shutdown or Kill.
func (e *Engine) Done() <-chan struct{} { return e.done }

// markClosed makes adding further services fail, and returns the existing ones. first is true only
// for the first call.
func (e *Engine) markClosed() (services []*Service, first bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	first, e.closed = !e.closed, true
	return e.servicesLocked(), first
}

// stop cancels the contexts of all handlers, closes the Done channel and stops the workers. The
// returned channel is closed once no handler is running.
func (e *Engine) stop() (idle <-chan struct{}) {
	e.cancel()
	e.mu.Lock()
	first := false
	select {
	case <-e.done:
	default:
		first = true
		close(e.done)
	}
	idle = e.workers.Stop()
	e.mu.Unlock()
	if first {
		e.recordChange(ServerStopped, nil)
	}
	return idle
}
