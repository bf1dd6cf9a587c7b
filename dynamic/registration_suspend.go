package dynamic

import (
	"context"
	"slices"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// A suspended registration receives no requests until it is resumed. Its endpoints remain in its
// table, so that topics are still known, but have no subscriptions. Suspending and resuming replace
// the endpoints by new ones. An old endpoint ends as if its topic had been deregistered.

// setSuspended suspends or resumes the registration. If it cannot be resumed, it stays suspended.
// setSuspended does nothing if the registration has been replaced or closed.
func (r *Registration) setSuspended(suspended bool) error {
	r.changeMu.Lock()
	defer r.changeMu.Unlock()
	if r.suspended.Swap(suspended) == suspended || r.checkReplaceable() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.ctx, r.server.options.timeout)
	defer cancel()
	if suspended {
		return r.suspend(ctx)
	}
	err := r.resume(ctx)
	if err != nil {
		r.suspended.Store(true)
		_ = r.suspend(ctx)
	}
	return err
}

// suspend replaces all endpoints by suspended ones, and waits until the bus delivers no more
// requests. The caller must hold changeMu and must have set r.suspended.
func (r *Registration) suspend(ctx context.Context) error {
	var successors []*endpoint
	for _, e := range r.currentEndpoints() {
		if !e.suspended {
			successors = append(successors, r.successorOf(e))
		}
	}
	leaving := r.exchangeEndpoints(successors)
	r.leaving = append(slices.DeleteFunc(r.leaving, (*endpoint).isClosed), leaving...)
	r.announce(wire.PresenceDraining, leaving...)
	drain := func() {
		forEachConcurrently(leaving, func(e *endpoint) {
			e.drain()
			r.closeWhenIdle(e)
		})
	}
	if !r.closeUntil(ctx, drain) {
		return errors.NewErrorf(errors.DeadlineExceeded,
			"service %s: the bus still delivers requests", r.service.Name())
	}
	return nil
}

// resume replaces all suspended endpoints by open ones. The caller must hold changeMu and must have
// cleared r.suspended. If resume fails, some endpoints may be open and others suspended.
func (r *Registration) resume(ctx context.Context) error {
	var (
		mu     sync.Mutex
		opened []*endpoint
		errs   []error
	)
	forEachConcurrently(r.currentEndpoints(), func(e *endpoint) {
		successor := r.successorOf(e)
		r.removeEndpoint(e)
		err := r.openEndpoint(ctx, successor)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			opened = append(opened, successor)
			return
		}
		errs = append(errs, err)
		// If the registration has been closed meanwhile, the endpoint is not needed any more.
		_ = r.addEndpoint(e)
	})
	if len(errs) > 0 {
		// All of the errors come from the bus, so it is enough to return one of them.
		return errs[0]
	}
	r.announce(wire.PresenceServing, opened...)
	return nil
}

// successorOf returns a new endpoint for the method and topic of e. It is suspended if r is.
func (r *Registration) successorOf(e *endpoint) *endpoint {
	successor := newEndpoint(e.plan, e.topic)
	r.mu.Lock()
	defer r.mu.Unlock()
	successor.fromPredecessor = e.fromPredecessor
	return successor
}

// exchangeEndpoints replaces the endpoints that have the same names as successors, and returns the
// replaced ones. The caller must later call closeWhenIdle for each of these. exchangeEndpoints does
// nothing if the registration has been closed, because it then drains its endpoints itself.
func (r *Registration) exchangeEndpoints(successors []*endpoint) (leaving []*endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end != nil {
		return nil
	}
	for _, e := range successors {
		leaving = append(leaving, r.endpoints[e.name])
		r.endpoints[e.name] = e
		// Enter cannot fail, because r.end is nil; see drainEndpoint.
		r.drainingEndpoints.Enter()
	}
	return leaving
}

// waitSuspended waits until the requests have ended that were being handled when the registration
// was suspended.
func (r *Registration) waitSuspended(ctx context.Context) error {
	r.changeMu.RLock()
	leaving := slices.Clone(r.leaving)
	r.changeMu.RUnlock()
	for _, e := range leaving {
		if err := waitFor(ctx, e.closed); err != nil {
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
