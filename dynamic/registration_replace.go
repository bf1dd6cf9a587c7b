package dynamic

import (
	"context"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// Replace replaces the service with another version without an interruption. All methods that the
// two versions have in common move to the new version at the same moment. Each request is handled
// by exactly one of the two versions. Requests sent after Replace has returned are never handled by
// r. Requests and streams that r is already handling continue. To end the streams and wait for the
// handlers, call Close on r. To cancel the handlers, call Kill on r. For everything else, use the
// registration of the new version, which Replace returns.
//
// The arguments are the same as for [Server.Register]. Methods may be added, removed and changed.
// Topics registered on r are also registered for the new version if the method still takes such a
// topic. The first call to RegisterTopic for such a topic then does nothing and returns nil. New
// methods, and methods whose kind or routing has changed, can be called as soon as the bus has
// confirmed their subscriptions. This is shortly before the other methods move to the new version.
//
// Replace takes no context. If the broker does not answer, the timeout of the server limits each of
// its two steps: subscribing to what only the new version needs, and ending the subscriptions that
// only r needs (see [WithServerTimeout]). If the second step takes longer, it continues in the
// background, and Replace returns nil as its error.
//
// If Replace fails, r continues unchanged. Replace fails for the same reasons as Register. It also
// fails
//   - if the wire names of the two versions differ; the error has code invalid_argument;
//   - if r or its server has been closed or killed, or is closed or killed during Replace; the
//     error is errors.ErrServerClosed;
//   - if r has already been replaced; the error has code failed_precondition. The topics of a
//     replaced registration can no longer be changed either.
func (r *Registration) Replace(descriptor any, handlers Handlers, opts ...RegisterOption) (*Registration, error) {
	next, err := r.replace(descriptor, handlers, opts)
	if err == nil {
		r.server.recordChange(ServiceReplaced, next.service)
	}
	return next, err
}

func (r *Registration) replace(descriptor any, handlers Handlers, opts []RegisterOption) (*Registration, error) {
	// Because of this lock, concurrent calls to Replace run one after the other. Once a call has
	// succeeded, the calls after it fail.
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
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.server.ctx, r.server.options.timeout)
	defer cancel()
	replaced := r.currentEndpoints()
	if !r.closeUntil(ctx, func() { forEachConcurrently(replaced, r.drainReplaced) }) {
		// The bus may still deliver requests for methods that next does not have.
		for _, e := range replaced {
			e.inFlight.Close()
		}
	}
	return next, nil
}

// checkReplaceable returns an error if r has been replaced or closed.
func (r *Registration) checkReplaceable() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.replaced:
		return errors.NewErrorf(errors.FailedPrecondition,
			"service %s was replaced: use the registration that Replace returned", r.service.Name())
	case r.end != nil:
		return errors.ErrServerClosed
	default:
		return nil
	}
}

// replaceWith transfers the service from r to next. If it fails, it ends next.
//
// Both versions share the bus subscriptions of the methods that they have in common. With separate
// subscriptions, requests would be lost in a gap between them, or handled twice in an overlap.
// replaceWith therefore subscribes to the channels that only next needs, and then switches the
// shared subscriptions to next with one atomic store. Replace later closes the subscriptions that
// only r needs.
func (r *Registration) replaceWith(next *Registration) (err error) {
	// A concurrent Drain waits until the endpoints of next are open.
	next.changeMu.RLock()
	defer next.changeMu.RUnlock()
	ctx, cancel := context.WithTimeout(r.ctx, r.server.options.timeout)
	defer cancel()
	defer func() {
		if err != nil {
			next.discard(ctx)
		}
	}()
	if wireName, nextWireName := r.service.WireName(), next.service.WireName(); nextWireName != wireName {
		return errors.NewErrorf(errors.InvalidArgument,
			"service %s, to be replaced, has the wire name %s, service %s has %s; see dynamic.WithWireName",
			r.service.Name(), wireName, next.service.Name(), nextWireName)
	}
	next.clients, next.unicast = r.clients, r.unicast
	if err := r.server.addDraining(next); err != nil {
		return err
	}
	next.setRecorders()
	endpoints := next.newEndpoints(r)
	if err := next.open(ctx, endpoints); err != nil {
		// The endpoints that next.open has not opened must be closed too, because newEndpoints has
		// counted every endpoint as a user of a bus subscription.
		next.closeUntil(ctx, func() { forEachConcurrently(endpoints, (*endpoint).close) })
		// If r was closed while next.open was running, this is why next.open failed.
		if closedErr := r.checkReplaceable(); closedErr != nil {
			return closedErr
		}
		return err
	}
	if err := r.transferEndpoints(next); err != nil {
		return err
	}
	next.announce(wire.PresenceServing, endpoints...)
	return nil
}

// discard ends a registration that could not replace another one. It waits until the bus has ended
// the subscriptions of the registration, but returns soon after ctx has ended.
func (r *Registration) discard(ctx context.Context) {
	end := r.startEnd()
	defer r.server.forget(r, end)
	_ = waitWithGrace(ctx, end.drained)
	r.stopHandlers(end)
	_ = waitWithGrace(ctx, end.released)
}

// newEndpoints returns a new endpoint for each method of r without topics. It also returns an
// endpoint for each topic that predecessor serves, if the method of r still takes such a topic. If
// predecessor has an endpoint with the same channel, both endpoints share one value of type
// inbound, which holds the bus subscriptions.
func (r *Registration) newEndpoints(predecessor *Registration) []*endpoint {
	endpoints := r.newTopiclessEndpoints()
	for _, e := range predecessor.currentEndpoints() {
		plan := r.plans[e.plan.method.Name()]
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

// endpoint returns the endpoint named name, or nil if there is none.
func (r *Registration) endpoint(name []byte) *endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.endpoints[string(name)]
}

// transferEndpoints makes the bus subscriptions deliver requests to next, or returns an error if r
// or the server has been closed. It locks both registrations and then the server, so Close, Kill
// and Shutdown see the state either before or after the transfer.
func (r *Registration) transferEndpoints(next *Registration) error {
	server := r.server
	r.mu.Lock()
	defer r.mu.Unlock()
	next.mu.Lock()
	defer next.mu.Unlock()
	server.mu.Lock()
	defer server.mu.Unlock()
	if r.end != nil || server.closed {
		return errors.ErrServerClosed
	}
	r.replaced = true
	next.served.Store(true)
	server.services[r.service.WireName()] = next
	delete(server.draining, next)
	server.draining[r] = struct{}{}

	// All methods must move to next at the same moment. Otherwise, a client that has received a
	// response from the new version of one method could reach the old version of another. Bus
	// callbacks read targets without a lock, so first give all inbounds targets with both endpoints
	// and one shared flag. The flag then switches all of them. Last, replace these targets by plain
	// ones, so that the old endpoints can be freed.
	var switched atomic.Bool
	for _, e := range next.endpoints {
		e.inbound.target.Store(&target{endpoint: e.inbound.current(), successor: e, switched: &switched})
	}
	switched.Store(true)
	r.unicast.registration.Store(next)
	for _, e := range next.endpoints {
		e.inbound.target.Store(&e.target)
	}
	return nil
}

// drainReplaced makes an endpoint of a replaced registration reject further requests. Requests and
// streams that the endpoint is already handling continue. If the method is not a stream method,
// drainReplaced also closes the endpoint's subscription, unless the new registration has taken over
// the subscription.
func (r *Registration) drainReplaced(e *endpoint) {
	if !e.inbound.isStream && e.inbound.current() == e {
		e.inbound.frames.Close()
	}
	// If Enter fails, r is being closed or killed, and Close or Kill closes e.
	if r.drainingEndpoints.Enter() {
		r.closeWhenIdle(e)
	}
}
