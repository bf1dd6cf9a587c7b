package serve

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// newTopiclessEndpoints returns a new endpoint for each method without topics.
func (s *Service) newTopiclessEndpoints() (endpoints []*endpoint) {
	for _, plan := range s.plans {
		if !plan.method.Topics() {
			endpoints = append(endpoints, newEndpoint(plan, nil))
		}
	}
	return endpoints
}

// openEndpoint adds an endpoint to the service and subscribes to the endpoint's channels. If
// that fails, openEndpoint removes and closes the endpoint.
func (s *Service) openEndpoint(ctx context.Context, e *endpoint) error {
	if err := s.addEndpoint(e); err != nil {
		s.closeUntil(ctx, e.close)
		return err
	}
	if e.suspended {
		return nil
	}
	if err := e.inbound.subscribe(ctx, e.plan.method.RequireClaim()); err != nil {
		s.removeEndpoint(e)
		s.closeUntil(ctx, e.close)
		if s.ctx.Err() != nil {
			return errors.ErrServerClosed
		}
		return transport.WithSubscribeCode(err, "method "+e.plan.method.FullName()+": cannot subscribe")
	}
	return nil
}

// closeUntil calls f, which ends bus subscriptions of the service. It waits until f has returned,
// but no longer than lifecycle.CloseGrace after ctx has ended. It reports whether f has returned.
// If the broker does not answer, f continues in the background. Close then waits for f, unless
// Close was called before closeUntil.
func (s *Service) closeUntil(ctx context.Context, f func()) bool {
	tracked, done := s.drainingEndpoints.Enter(), make(chan struct{})
	go func() {
		defer close(done)
		f()
		if tracked {
			s.drainingEndpoints.Leave()
		}
	}()
	return lifecycle.WaitWithGrace(ctx, done) == nil
}

// addEndpoint adds an endpoint to the service. It must be called before the endpoint
// subscribes, so that a concurrent Close or Kill also closes the new endpoint.
func (s *Service) addEndpoint(e *endpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end != nil {
		return errors.ErrServerClosed
	}
	if s.endpoints[e.name] != nil {
		return errors.NewErrorf(errors.AlreadyExists, "method %s: topic %.200q is already registered",
			e.plan.method.FullName(), e.topic)
	}
	s.endpoints[e.name] = e
	return nil
}

// removeEndpoint removes the endpoint e. It keeps another endpoint that has been added with the
// same name.
func (s *Service) removeEndpoint(e *endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.endpoints[e.name] == e {
		delete(s.endpoints, e.name)
	}
}

// drainEndpoint removes an endpoint and stops accepting requests for it. Requests that are being
// handled continue, and claimed ones may still be granted. It does not wait for the bus, because
// the broker may not answer. The channel drained is closed when the bus delivers no more requests.
// ok is false if there is no endpoint with this name.
func (s *Service) drainEndpoint(name string) (drained <-chan struct{}, ok bool) {
	s.mu.Lock()
	e := s.endpoints[name]
	if e == nil || s.end != nil {
		// If s.end is set, runEnd drains all endpoints.
		end := s.end
		s.mu.Unlock()
		if e == nil {
			return nil, false
		}
		return end.drained, true
	}
	delete(s.endpoints, name)
	// Close does not find e in endpoints any more, so it waits for drainingEndpoints instead. Enter
	// cannot fail, because s.end is nil, and Close sets s.end before it closes drainingEndpoints.
	s.drainingEndpoints.Enter()
	s.mu.Unlock()
	done := make(chan struct{})
	// Close waits for drainingEndpoints and thus for this goroutine.
	go func() {
		s.announce(wire.PresenceDraining, e)
		e.drain()
		s.closeWhenIdle(e)
		close(done)
	}()
	return done, true
}

// closeWhenIdle makes e reject further requests and closes it once the requests and streams that it
// is handling have ended. The caller must have called s.drainingEndpoints.Enter for e.
// closeWhenIdle calls the corresponding Leave.
func (s *Service) closeWhenIdle(e *endpoint) {
	idle := e.inFlight.Close()
	select {
	case <-idle:
		s.announce(wire.PresenceLeft, e)
		e.close()
		s.drainingEndpoints.Leave()
		return
	default:
	}
	// Close waits for drainingEndpoints and thus for this goroutine.
	go func() {
		defer s.drainingEndpoints.Leave()
		<-idle
		s.announce(wire.PresenceLeft, e)
		e.close()
	}()
}
