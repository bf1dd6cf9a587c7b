package serve

import (
	"context"
	"slices"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// A suspended service receives no requests until it is resumed. Its endpoints have no
// subscriptions, but remain in the map endpoints, so that their topics are still known. Suspending
// and resuming replace the endpoints by new ones. An old endpoint ends as if its topic had been
// deregistered.

// setSuspended suspends or resumes the service. If it cannot be resumed, it stays suspended.
// setSuspended does nothing if the service has been replaced or closed.
func (s *Service) setSuspended(suspended bool) error {
	s.changeMu.Lock()
	defer s.changeMu.Unlock()
	if s.suspended.Swap(suspended) == suspended || s.checkReplaceable() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.engine.Timeout)
	defer cancel()
	if suspended {
		return s.suspend(ctx)
	}
	err := s.resume(ctx)
	if err != nil {
		s.suspended.Store(true)
		_ = s.suspend(ctx)
	}
	return err
}

// suspend replaces all endpoints by suspended ones, and waits until the bus delivers no more
// requests. The caller must hold changeMu and must have set s.suspended.
func (s *Service) suspend(ctx context.Context) error {
	var successors []*endpoint
	for _, e := range s.currentEndpoints() {
		if !e.suspended {
			successors = append(successors, s.successorOf(e))
		}
	}
	leaving := s.exchangeEndpoints(successors)
	s.leaving = append(slices.DeleteFunc(s.leaving, (*endpoint).isClosed), leaving...)
	s.announce(wire.PresenceDraining, leaving...)
	drain := func() {
		drainAll(leaving)
		forEachConcurrently(leaving, s.closeWhenIdle)
	}
	if !s.closeUntil(ctx, drain) {
		return errors.NewErrorf(errors.DeadlineExceeded,
			"service %s: the bus still delivers requests", s.Descriptor.Name())
	}
	return nil
}

// resume replaces all suspended endpoints by open ones. The caller must hold changeMu and must have
// cleared s.suspended. If resume fails, some endpoints may be open and others suspended.
func (s *Service) resume(ctx context.Context) error {
	var (
		mu     sync.Mutex
		opened []*endpoint
		errs   []error
	)
	forEachConcurrently(s.currentEndpoints(), func(e *endpoint) {
		successor := s.successorOf(e)
		s.removeEndpoint(e)
		err := s.openEndpoint(ctx, successor)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			opened = append(opened, successor)
			return
		}
		errs = append(errs, err)
		// This fails only if the service has been closed in the meantime. The endpoint is then no
		// longer needed.
		_ = s.addEndpoint(e)
	})
	if len(errs) > 0 {
		// All endpoints use the same bus, so their errors are alike, and one is enough.
		return errs[0]
	}
	s.announce(wire.PresenceServing, opened...)
	return nil
}

// successorOf returns a new endpoint for the method and topic of e. It is suspended if s is.
func (s *Service) successorOf(e *endpoint) *endpoint {
	successor := newEndpoint(e.plan, e.topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	successor.fromPredecessor = e.fromPredecessor
	return successor
}

// exchangeEndpoints replaces the endpoints that have the same names as successors, and returns the
// replaced ones. The caller must later call closeWhenIdle for each of these. exchangeEndpoints does
// nothing if the service has been closed, because closing the service drains the endpoints.
func (s *Service) exchangeEndpoints(successors []*endpoint) (leaving []*endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end != nil {
		return nil
	}
	for _, e := range successors {
		leaving = append(leaving, s.endpoints[e.name])
		s.endpoints[e.name] = e
		// Enter cannot fail, because s.end is nil; see drainEndpoint.
		s.drainingEndpoints.Enter()
	}
	return leaving
}

// waitSuspended waits for the requests that were being handled when the service was suspended.
func (s *Service) waitSuspended(ctx context.Context) error {
	s.changeMu.RLock()
	leaving := slices.Clone(s.leaving)
	s.changeMu.RUnlock()
	for _, e := range leaving {
		if err := lifecycle.Wait(ctx, e.closed); err != nil {
			return err
		}
	}
	return nil
}

// isClosed reports whether the method close has returned.
func (e *endpoint) isClosed() bool {
	select {
	case <-e.closed:
		return true
	default:
		return false
	}
}
