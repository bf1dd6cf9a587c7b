package serve

import (
	"context"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// Replace replaces the service with the version that build returns, without an interruption. All
// methods that the two versions have in common move to the new version at the same moment. Requests
// and streams that s is already handling continue. The topics of s are also served by the new
// version if they still fit their method.
//
// build calls NewService. Topics of s cannot change while build runs. If s has already been
// replaced, Replace returns an error with code failed_precondition without calling build. If s or
// the engine has been closed, the error is errors.ErrServerClosed. If Replace fails, s continues
// unchanged.
func (s *Service) Replace(build func() (*Service, error)) error {
	next, err := s.replace(build)
	if err == nil {
		s.engine.recordChange(ServiceReplaced, next.Descriptor)
	}
	return err
}

func (s *Service) replace(build func() (*Service, error)) (*Service, error) {
	// Because of this lock, concurrent calls to Replace run one after the other. Once a call has
	// succeeded, the calls after it fail.
	s.changeMu.Lock()
	defer s.changeMu.Unlock()
	if err := s.checkReplaceable(); err != nil {
		return nil, err
	}
	next, err := build()
	if err != nil {
		return nil, err
	}
	if err := s.replaceWith(next); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.engine.ctx, s.engine.Timeout)
	defer cancel()
	replaced := s.currentEndpoints()
	drain := func() {
		startDetachAll(replaced)
		forEachConcurrently(replaced, s.drainReplaced)
	}
	if !s.closeUntil(ctx, drain) {
		// The bus may still deliver requests for methods that next does not have.
		for _, e := range replaced {
			e.inFlight.Close()
		}
	}
	return next, nil
}

// checkReplaceable returns an error if s has been replaced or closed.
func (s *Service) checkReplaceable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.replaced:
		return errors.NewErrorf(errors.FailedPrecondition,
			"service %s was replaced: use the registration that Replace returned", s.Descriptor.Name())
	case s.end != nil:
		return errors.ErrServerClosed
	default:
		return nil
	}
}

// replaceWith transfers the service from s to next. If that fails, replaceWith ends next.
//
// Both versions share the bus subscriptions of the methods that they have in common; see inbound.
// replaceWith subscribes to the channels that only next needs, and then switches the shared
// subscriptions to next with one atomic store. Replace later closes the subscriptions that only s
// needs.
func (s *Service) replaceWith(next *Service) (err error) {
	// A concurrent Drain waits until the endpoints of next are open.
	next.changeMu.RLock()
	defer next.changeMu.RUnlock()
	ctx, cancel := context.WithTimeout(s.ctx, s.engine.Timeout)
	defer cancel()
	defer func() {
		if err != nil {
			next.discard(ctx)
		}
	}()
	if wireName, nextWireName := s.Descriptor.WireName(), next.Descriptor.WireName(); nextWireName != wireName {
		return errors.NewErrorf(errors.InvalidArgument,
			"service %s, to be replaced, has the wire name %s, service %s has %s; see dynamic.WithWireName",
			s.Descriptor.Name(), wireName, next.Descriptor.Name(), nextWireName)
	}
	next.clients, next.unicast = s.clients, s.unicast
	if err := s.engine.addDraining(next); err != nil {
		return err
	}
	next.setRecorders()
	endpoints := next.newEndpoints(s)
	if err := next.open(ctx, endpoints); err != nil {
		// The endpoints that next.open has not opened must be closed too, because newEndpoints has
		// counted every endpoint as a user of a bus subscription.
		next.closeUntil(ctx, func() { forEachConcurrently(endpoints, (*endpoint).close) })
		// If s was closed while next.open was running, this is why next.open failed.
		if closedErr := s.checkReplaceable(); closedErr != nil {
			return closedErr
		}
		return err
	}
	if err := s.transferEndpoints(next); err != nil {
		return err
	}
	next.announce(wire.PresenceServing, endpoints...)
	return nil
}

// discard ends a service that could not replace another one. It waits until the bus has ended
// the subscriptions of the service, but returns soon after ctx has ended.
func (s *Service) discard(ctx context.Context) {
	end := s.startEnd()
	defer s.engine.forget(s, end)
	_ = lifecycle.WaitWithGrace(ctx, end.drained)
	s.stopHandlers(end)
	_ = lifecycle.WaitWithGrace(ctx, end.released)
}

// newEndpoints returns a new endpoint for each method of s without topics. It also returns an
// endpoint for each topic that predecessor serves, if the method of s still takes such a topic. If
// predecessor has an endpoint with the same channel, both endpoints share one value of type
// inbound, which holds the bus subscriptions.
func (s *Service) newEndpoints(predecessor *Service) []*endpoint {
	endpoints := s.newTopiclessEndpoints()
	for _, e := range predecessor.currentEndpoints() {
		plan := s.plans[e.plan.method.Name()]
		if len(e.topic) > 0 && plan != nil && transport.CheckTopic(plan.method, e.topic, true) == nil {
			successor := newEndpoint(plan, e.topic)
			successor.fromPredecessor = true
			endpoints = append(endpoints, successor)
		}
	}
	for _, e := range endpoints {
		e.reuseInbound(predecessor.endpoint([]byte(e.name)))
	}
	return endpoints
}

// transferEndpoints makes the bus subscriptions deliver requests to next, or returns an error if s
// or the server has been closed. It locks both services and then the server, so Close, Kill
// and Shutdown see the state either before or after the transfer.
func (s *Service) transferEndpoints(next *Service) error {
	engine := s.engine
	s.mu.Lock()
	defer s.mu.Unlock()
	next.mu.Lock()
	defer next.mu.Unlock()
	engine.mu.Lock()
	defer engine.mu.Unlock()
	if s.end != nil || engine.closed {
		return errors.ErrServerClosed
	}
	s.replaced = true
	next.served.Store(true)
	engine.services[s.Descriptor.WireName()] = next
	delete(engine.draining, next)
	engine.draining[s] = struct{}{}

	// All methods must move to next at the same moment. Otherwise, a client that has received a
	// response from the new version of one method could reach the old version of another. Bus
	// callbacks read targets without a lock, so every inbound first gets a target with both
	// endpoints and a shared flag, which then switches all of them. Last, plain targets replace
	// these, so that the old endpoints can be freed.
	var switched atomic.Bool
	for _, e := range next.endpoints {
		e.inbound.target.Store(&target{endpoint: e.inbound.current(), successor: e, switched: &switched})
	}
	switched.Store(true)
	s.unicast.service.Store(next)
	for _, e := range next.endpoints {
		e.inbound.target.Store(&e.target)
	}
	return nil
}

// drainReplaced makes an endpoint of a replaced service reject further requests. Requests and
// streams that the endpoint is already handling continue. If the method is not a stream method,
// drainReplaced also closes the endpoint's subscription, unless the new service has taken over
// the subscription.
func (s *Service) drainReplaced(e *endpoint) {
	if !e.inbound.isStream && e.inbound.current() == e {
		e.inbound.frames.Close()
	}
	// If Enter fails, s is being closed or killed, and Close or Kill closes e.
	if s.drainingEndpoints.Enter() {
		s.closeWhenIdle(e)
	}
}
