package dynamic

import (
	"context"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Replace puts another version of the service in place of r: for all of its methods at one moment, and without a gap. Each
// request is handled once, by one of the versions, and none that is sent after Replace has returned by r. What r is
// handling goes on, and so do its streams: Close r to end these and to wait for its handlers, or Kill it. From now on the
// registration that Replace returns is the one of the service.
//
// It takes what [Server.Register] takes. Methods may come, go and change. Topics that are registered with r are those of
// the new version too, where its method takes them; to register one of those again does nothing, once. A method that is
// new, or that has another kind or routing, is served as soon as the bus has confirmed it, a little before the moment.
//
// Replace fails as Register does, with the code invalid_argument also if the wire name is not that of r; with
// errors.ErrServerClosed if r or its server was closed or killed, before or meanwhile; and with failed_precondition if r
// was replaced before: then the topics of r cannot be changed either. If Replace fails, r goes on as it was.
func (r *Registration) Replace(descriptor any, handlers Handlers, opts ...RegisterOption) (*Registration, error) {
	r.changeMu.Lock() // so that of several calls one wins
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

// checkReplaceable returns nil, or why r cannot be replaced.
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

// replaceWith subscribes to what next needs beyond what r has, and hands over to it.
func (r *Registration) replaceWith(next *Registration) error {
	if wanted, given := r.service.WireName(), next.service.WireName(); given != wanted {
		return errors.NewErrorf(errors.InvalidArgument,
			"service %s, to be replaced, has the wire name %s, service %s has %s; see dynamic.WithWireName",
			r.service.Name(), wanted, next.service.Name(), given)
	}
	next.clients = r.clients
	if err := r.server.addDraining(next); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.ctx, r.server.options.timeout)
	defer cancel()
	endpoints := next.newEndpoints(r)
	if err := next.open(ctx, endpoints); err != nil {
		forEachConcurrently(endpoints, (*endpoint).close)        // also those that it has not come to
		if closedErr := r.checkReplaceable(); closedErr != nil { // which is why
			return closedErr
		}
		return err
	}
	return r.transferEndpoints(next)
}

// newEndpoints returns new listeners for the methods without topics, and for the topics of the registration before it.
func (r *Registration) newEndpoints(predecessor *Registration) []*endpoint {
	endpoints := r.newTopiclessEndpoints()
	for _, e := range predecessor.currentEndpoints() {
		method := r.plans[e.plan.method.Name()]
		if len(e.topic) > 0 && method != nil && transport.CheckTopic(method.method, e.topic) == nil {
			successor := newEndpoint(method, e.topic)
			successor.inherited = true
			endpoints = append(endpoints, successor)
		}
	}
	for _, e := range endpoints {
		e.reuseInbound(predecessor.endpoint(e.name))
	}
	return endpoints
}

// endpoint returns nil if there is none of that name.
func (r *Registration) endpoint(name string) *endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.endpoints[name]
}

// transferEndpoints lets next serve in place of r from one moment on, unless r or the server has been closed.
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

	var moment atomic.Bool
	for _, e := range next.endpoints {
		e.inbound.target.Store(&target{endpoint: e.inbound.current(), successor: e, switched: &moment})
	}
	moment.Store(true)
	for _, e := range next.endpoints {
		e.inbound.target.Store(&target{endpoint: e})
	}
	return nil
}

// drainReplaced lets nothing more enter a listener of a registration that was replaced. What it is handling goes on.
func (r *Registration) drainReplaced(e *endpoint) {
	if !e.inbound.isStream && e.inbound.current() == e { // nobody has taken it over
		e.inbound.frames.Close()
	}
	if r.drainingEndpoints.Enter() { // or else a close frees it
		r.closeWhenIdle(e)
	}
}
