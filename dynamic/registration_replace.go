package dynamic

import (
	"context"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Replace replaces the service by another version of it while it is being called: without a gap,
// and for all methods at the same moment. Each request is handled once, by one of the versions, and
// none that is sent after Replace has returned is handled by r. Requests and streams that r is
// handling continue. To end the streams and wait for the handlers call Close on r; to cancel the
// handlers call Kill. Replace returns the registration of the new version, which must be used from
// then on.
//
// The arguments are those of [Server.Register]. Methods may be added, removed and changed. A topic
// that is registered with r is registered with the new version too, if its method still takes such
// a topic; the first RegisterTopic for that topic then succeeds and does nothing. A new method, or
// one whose kind or routing has changed, can be called as soon as the bus has confirmed its
// subscription, which is shortly before the other methods move to the new version.
//
// If Replace fails, r continues unchanged. It fails as Register does, and
//   - with the code invalid_argument if the wire names of the two versions differ;
//   - with errors.ErrServerClosed if r or its server was closed or killed, or is so during Replace;
//   - with the code failed_precondition if r was replaced before. Its topics are then fixed, too.
func (r *Registration) Replace(descriptor any, handlers Handlers, opts ...RegisterOption) (*Registration, error) {
	// Concurrent calls run one after the other. The first one that succeeds makes the others fail.
	r.changeMu.Lock()
	defer r.changeMu.Unlock()
	if err := r.checkReplaceable(); err != nil {
		return nil, err
	}
	next, err := r.server.buildRegistration(descriptor, handlers, opts)
	if err != nil {
		return nil, err
	}
	if err := r.replaceWith(next); err != nil {
		next.Kill()
		return nil, err
	}
	forEachConcurrently(r.currentEndpoints(), r.drainReplaced)
	return next, nil
}

// checkReplaceable returns an error if r was replaced or closed.
func (r *Registration) checkReplaceable() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.replaced:
		return errors.NewErrorf(errors.FailedPrecondition,
			"service %s was replaced: use the registration that Replace returned", r.service.Name())
	case r.closed:
		return errors.ErrServerClosed
	default:
		return nil
	}
}

// replaceWith makes next serve in place of r.
//
// The versions share the bus subscriptions of the methods that both have: if one version
// unsubscribed and the other subscribed, requests in between would be lost, or those during an
// overlap handled twice. replaceWith subscribes to the channels that only next needs, then directs
// the frames of all inbounds to next with one atomic store. Replace closes the subscriptions that
// only r needs afterwards.
func (r *Registration) replaceWith(next *Registration) error {
	if wireName, nextWireName := r.service.WireName(), next.service.WireName(); nextWireName != wireName {
		return errors.NewErrorf(errors.InvalidArgument,
			"service %s, to be replaced, has the wire name %s, service %s has %s; see dynamic.WithWireName",
			r.service.Name(), wireName, next.service.Name(), nextWireName)
	}
	next.clients = r.clients
	if err := r.server.addDraining(next); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.ctx, r.server.options.timeout)
	defer cancel()
	endpoints := next.newEndpoints(r)
	if err := next.open(ctx, endpoints); err != nil {
		// Endpoints that open did not reach count as users of their inbounds, so all are closed.
		forEachConcurrently(endpoints, (*endpoint).close)
		// If r was closed during open, that is the cause of err.
		if closedErr := r.checkReplaceable(); closedErr != nil {
			return closedErr
		}
		return err
	}
	return r.transferEndpoints(next)
}

// newEndpoints returns new endpoints for the methods of r without topics and for the topics that
// predecessor serves. They use the inbounds of predecessor where the channels are the same.
func (r *Registration) newEndpoints(predecessor *Registration) []*endpoint {
	endpoints := r.newTopiclessEndpoints()
	for _, e := range predecessor.currentEndpoints() {
		plan := r.plans[e.plan.method.Name()]
		if len(e.topic) > 0 && plan != nil && transport.CheckTopic(plan.method, e.topic) == nil {
			successor := newEndpoint(plan, e.topic)
			successor.fromPredecessor = true
			endpoints = append(endpoints, successor)
		}
	}
	for _, e := range endpoints {
		e.reuseInbound(predecessor.endpoint(e.name))
	}
	return endpoints
}

// endpoint returns the endpoint with this name, or nil.
func (r *Registration) endpoint(name string) *endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.endpoints[name]
}

// transferEndpoints directs the frames of all inbounds to next, unless r or the server has been
// closed. It holds the locks of both registrations and of the server, in this order, so that Close,
// Kill and Shutdown see either the state before the transfer or the state after it.
//
// A frame that arrives meanwhile reads the target of its inbound without a lock. In the first loop
// every inbound gets a target that depends on the shared flag switched, which still selects the
// current endpoint. Setting the flag then switches all methods at once: a client that got a
// response of the new version from one method cannot reach the old version with another method. The
// second loop drops the flag and the reference to the old endpoint.
func (r *Registration) transferEndpoints(next *Registration) error {
	server := r.server
	r.mu.Lock()
	defer r.mu.Unlock()
	next.mu.Lock()
	defer next.mu.Unlock()
	server.mu.Lock()
	defer server.mu.Unlock()
	if r.closed || server.closed {
		return errors.ErrServerClosed
	}
	r.replaced = true
	server.services[r.service.WireName()] = next
	delete(server.draining, next)
	server.draining[r] = struct{}{}

	var switched atomic.Bool
	for _, e := range next.endpoints {
		e.inbound.target.Store(&target{endpoint: e.inbound.current(), successor: e, switched: &switched})
	}
	switched.Store(true)
	for _, e := range next.endpoints {
		e.inbound.target.Store(&target{endpoint: e})
	}
	return nil
}

// drainReplaced makes an endpoint of a replaced registration reject further requests. Requests and
// streams that it handles continue. It closes the subscription of calls if no endpoint of the new
// version uses it.
func (r *Registration) drainReplaced(e *endpoint) {
	if !e.inbound.isStream && e.inbound.current() == e {
		e.inbound.frames.Close()
	}
	if r.drainingEndpoints.Enter() { // otherwise Close or Kill closes e
		r.closeWhenIdle(e)
	}
}
