package dynamic

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// Drain stops accepting requests for all services of the server and waits for running handlers to
// return. Open streams are closed, so that their clients can open them on other servers. Unlike
// Shutdown, Drain can be undone: [Server.Resume] makes the server accept requests again. Services
// that were registered with [ServeWhileDrained] are not drained.
//
// While the server is drained, services and topics can be registered, replaced and closed as usual,
// but they accept no requests until Resume is called. Updates can still be published.
//
// If ctx ends before all handlers have returned, Drain returns an error that wraps ctx.Err(). The
// server then stays drained, the handlers continue, and a further call to Drain waits for them
// again. If the bus does not end a subscription within the timeout of the server (see
// [WithServerTimeout]), Drain returns an error with code deadline_exceeded, and the subscription
// ends in the background. After Shutdown or Kill, Drain returns errors.ErrServerClosed.
func (s *Server) Drain(ctx context.Context) error {
	if ctx == nil {
		return nilarg.ErrContext
	}
	drained := s.Drained()
	err := s.setDrained(true)
	if !drained && s.Drained() {
		s.recordChange(ServerDraining, nil)
	}
	if err != nil {
		return err
	}
	for _, r := range s.currentRegistrations() {
		if err := r.waitSuspended(ctx); err != nil {
			return errors.NewErrorf(errors.FromContext(err).Code(),
				"server %s: service %s: handlers were still running: %w", s.ID(), r.service.Name(), err)
		}
	}
	return nil
}

// Resume undoes Drain: when it returns nil, all services accept requests again. It does nothing if
// the server is not drained. If the bus fails or does not confirm the subscriptions in time (see
// [WithServerTimeout]), Resume returns an error and the server stays drained. After Shutdown or
// Kill, Resume returns errors.ErrServerClosed.
func (s *Server) Resume() error {
	drained := s.Drained()
	err := s.setDrained(false)
	if err == nil && drained {
		s.recordChange(ServerResumed, nil)
	}
	if err != nil && !errors.Is(err, errors.ErrServerClosed) {
		// Services that have been resumed are suspended again, so that the server is not half
		// drained.
		_ = s.setDrained(true)
	}
	return err
}

// Drained reports whether [Server.Drain] has been called and [Server.Resume] has not undone it.
func (s *Server) Drained() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drained
}

// setDrained suspends all services, or resumes them if drained is false. Services that are
// registered or replaced at the same time are in the new state, too: either they see the new value
// of s.drained, or setDrained finds them.
func (s *Server) setDrained(drained bool) error {
	s.drainMu.Lock()
	defer s.drainMu.Unlock()
	s.mu.Lock()
	closed := s.closed
	s.drained = drained && !closed
	s.mu.Unlock()
	if closed {
		return errors.ErrServerClosed
	}
	var problems []error
	for {
		var changing sync.WaitGroup
		registrations := s.registrationsToSuspend(drained)
		errs := make([]error, len(registrations))
		for i, r := range registrations {
			changing.Go(func() { errs[i] = r.setSuspended(drained) })
		}
		changing.Wait()
		problems = append(problems, errs...)
		if len(registrations) == 0 || errors.Join(problems...) != nil && !drained {
			return errors.Join(problems...)
		}
	}
}

// registrationsToSuspend returns the registrations that setDrained must still suspend or resume.
func (s *Server) registrationsToSuspend(suspended bool) (registrations []*Registration) {
	for _, r := range s.currentRegistrations() {
		if r.suspended.Load() != suspended && (!suspended || !r.servesWhileDrained) {
			registrations = append(registrations, r)
		}
	}
	return registrations
}

// currentRegistrations returns the registrations that have been neither closed nor replaced.
func (s *Server) currentRegistrations() (registrations []*Registration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.services {
		registrations = append(registrations, r)
	}
	return registrations
}

// ServeWhileDrained makes a service accept requests even while its server is drained; see
// [Server.Drain]. It is meant for services that observe or control the server itself.
func ServeWhileDrained() RegisterOption {
	return registerOption(func(o *registerOptions) { o.servesWhileDrained = true })
}
