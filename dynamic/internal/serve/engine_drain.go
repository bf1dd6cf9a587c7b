package serve

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Drain stops accepting requests and waits for running handlers to return. It skips services with
// [ServiceConfig.ServesWhileDrained]. If ctx ends first, it returns an error that wraps
// ctx.Err(), and the engine stays drained. If the bus does not end a subscription within the
// timeout of the engine, the error has code deadline_exceeded. After Shutdown or Kill, Drain
// returns errors.ErrServerClosed. ctx must not be nil.
func (e *Engine) Drain(ctx context.Context) error {
	drained := e.Drained()
	err := e.setDrained(true)
	if !drained && e.Drained() {
		e.recordChange(ServerDraining, nil)
	}
	if err != nil {
		return err
	}
	for _, s := range e.Services() {
		if err := s.waitSuspended(ctx); err != nil {
			return errors.NewErrorf(errors.FromContext(err).Code(),
				"server %s: service %s: handlers were still running: %w", e.ID, s.Descriptor.Name(), err)
		}
	}
	return nil
}

// Resume undoes Drain: when it returns nil, all services accept requests again. If the bus fails or
// does not confirm the subscriptions in time, Resume returns an error and the engine stays drained.
func (e *Engine) Resume() error {
	drained := e.Drained()
	err := e.setDrained(false)
	if err == nil && drained {
		e.recordChange(ServerResumed, nil)
	}
	if err != nil && !errors.Is(err, errors.ErrServerClosed) {
		// Services that have been resumed are suspended again, so that the server is not half
		// drained.
		_ = e.setDrained(true)
	}
	return err
}

// Drained reports whether Drain has been called and Resume has not undone it.
func (e *Engine) Drained() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.drained
}

// setDrained suspends all services if drained is true, and resumes them otherwise. It leaves out
// the services that are served while drained. A service that is registered or replaced at the same
// time gets the new state, too: either it sees the new value of e.drained, or setDrained finds it.
func (e *Engine) setDrained(drained bool) error {
	e.drainMu.Lock()
	defer e.drainMu.Unlock()
	e.mu.Lock()
	closed := e.closed
	e.drained = drained && !closed
	e.mu.Unlock()
	if closed {
		return errors.ErrServerClosed
	}
	var problems []error
	for {
		var changing sync.WaitGroup
		services := e.servicesToSuspend(drained)
		errs := make([]error, len(services))
		for i, s := range services {
			changing.Go(func() { errs[i] = s.setSuspended(drained) })
		}
		changing.Wait()
		problems = append(problems, errs...)
		if len(services) == 0 || errors.Join(problems...) != nil && !drained {
			return errors.Join(problems...)
		}
	}
}

// servicesToSuspend returns the services that setDrained must still suspend or resume.
func (e *Engine) servicesToSuspend(suspended bool) (services []*Service) {
	for _, s := range e.Services() {
		if s.suspended.Load() != suspended && (!suspended || !s.ServesWhileDrained) {
			services = append(services, s)
		}
	}
	return services
}
