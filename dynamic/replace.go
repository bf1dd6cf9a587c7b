package dynamic

import (
	"context"
	"sync/atomic"

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
	r.changing.Lock() // so that of several calls one wins
	defer r.changing.Unlock()
	if err := r.ended(); err != nil {
		return nil, err
	}
	next, err := r.server.prepare(descriptor, handlers, opts)
	if err != nil {
		return nil, err
	}
	if err := r.replaceBy(next); err != nil {
		next.Kill()
		return nil, err
	}
	forEach(r.present(), r.retire)
	return next, nil
}

// ended returns nil, or why r cannot be replaced.
func (r *Registration) ended() error {
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

// replaceBy subscribes to what next needs beyond what r has, and hands over to it.
func (r *Registration) replaceBy(next *Registration) error {
	if wanted, given := r.service.WireName(), next.service.WireName(); given != wanted {
		return errors.NewErrorf(errors.InvalidArgument,
			"service %s, to be replaced, has the wire name %s, service %s has %s; see dynamic.WithWireName",
			r.service.Name(), wanted, next.service.Name(), given)
	}
	next.peers = r.peers
	if err := r.server.setAside(next); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.running, r.server.options.timeout)
	defer cancel()
	listeners := next.successors(r)
	if err := next.start(ctx, listeners); err != nil {
		forEach(listeners, (*listener).free)  // also those that it has not come to
		if ended := r.ended(); ended != nil { // which is why
			return ended
		}
		return err
	}
	return r.handOver(next)
}

// setAside takes a registration that is to replace another one, so that a close meanwhile finds it.
func (s *Server) setAside(r *Registration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.ErrServerClosed
	}
	s.aside[r] = struct{}{}
	return nil
}

// successors returns new listeners for the methods without topics, and for the topics of the registration before it.
func (r *Registration) successors(before *Registration) []*listener {
	listeners := r.withoutTopics()
	for _, l := range before.present() {
		method := r.methods[l.method.method.Name()]
		if len(l.topic) > 0 && method != nil && checkTopic(method.method, l.topic) == nil {
			inherited := newListener(method, l.topic)
			inherited.inherited = true
			listeners = append(listeners, inherited)
		}
	}
	for _, l := range listeners {
		l.succeed(before.listener(l.name))
	}
	return listeners
}

// listener returns nil if there is none of that name.
func (r *Registration) listener(name string) *listener {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.listeners[name]
}

// succeed prepares a listener to take over the intake of another one, if that is on the same channel. Should it come to
// nothing, grants that only this one needs are still heard, which does no harm.
func (l *listener) succeed(before *listener) {
	if before != nil && before.intake.channel == l.intake.channel && before.intake.join == l.intake.join {
		l.intake = before.intake
		l.intake.add()
	}
}

// handOver lets next serve in place of r from one moment on, unless r or the server has been closed.
func (r *Registration) handOver(next *Registration) error {
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
	delete(server.aside, next)
	server.aside[r] = struct{}{}

	var moment atomic.Bool
	for _, l := range next.listeners {
		l.intake.destination.Store(&destination{listener: l.intake.current(), next: l, handedOver: &moment})
	}
	moment.Store(true)
	for _, l := range next.listeners {
		l.intake.destination.Store(&destination{listener: l})
	}
	return nil
}

// retire lets nothing more enter a listener of a registration that was replaced. What it is handling goes on.
func (r *Registration) retire(l *listener) {
	if !l.intake.isStream && l.intake.current() == l { // nobody has taken it over
		l.intake.frames.close()
	}
	if r.leaving.Enter() { // or else a close frees it
		r.leave(l)
	}
}
