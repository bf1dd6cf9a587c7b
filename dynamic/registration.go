package dynamic

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Registration is one service on one server. It ends with Close or Kill, or with its server. [Registration.Replace] puts
// another version of the service in its place while it is called.
type Registration struct {
	server       *Server
	service      *registry.Service
	methods      map[string]*servedMethod // by method name; immutable
	publishers   map[string]*publisher    // by method name; immutable
	peers        *peerTable               // shared with the versions before and after it
	leaving      *lifecycle.Gate          // inside: listeners that end before the registration, while they are handling something
	active       activeRequests
	cancels      lazySubscription
	interceptors serverInterceptors // the server's and the service's

	// running is the context of the service's handlers; kill ends it.
	running context.Context //nolint:containedctx // the life of the registration
	kill    context.CancelFunc

	// changing is held by Replace, and shared by those who change the topics.
	changing sync.RWMutex

	mu        sync.Mutex
	closed    bool
	replaced  bool
	listeners map[string]*listener // by name of the request channel
}

func newRegistration(s *Server, service *registry.Service, interceptors serverInterceptors) *Registration {
	running, kill := context.WithCancel(s.running)
	r := &Registration{
		server:       s,
		service:      service,
		publishers:   map[string]*publisher{},
		peers:        &peerTable{service: service.WireName()},
		leaving:      lifecycle.NewGate(),
		cancels:      lazySubscription{closedErr: errors.ErrServerClosed},
		interceptors: interceptors,
		running:      running,
		kill:         kill,
		listeners:    map[string]*listener{},
	}
	for _, method := range service.Methods() {
		r.publishers[method.Name()] = newPublisher(s.bus, method, interceptors.publish)
	}
	return r
}

// Service returns what is registered.
func (r *Registration) Service() *registry.Service { return r.service }

// Close takes no more requests for the service and waits for its running handlers. If ctx ends first, it kills
// them and returns an error that satisfies errors.Is for the context's error. The service can then be
// registered anew, unless it goes on in another registration, see Replace. Further calls wait too.
func (r *Registration) Close(ctx context.Context) error {
	defer r.server.remove(r)
	listeners := r.close()
	forEach(listeners, (*listener).stop)
	err := r.waitUntilIdle(ctx, listeners)
	if err != nil {
		err = errors.NewErrorf(errors.FromContext(err).Code(),
			"service %s: handlers were still running: %w", r.service.Name(), err)
	}
	for _, l := range listeners {
		l.free()
	}
	r.cancels.close()
	r.kill()
	return err
}

// Kill takes no more requests for the service, ends the contexts of its running handlers, and does not wait.
func (r *Registration) Kill() {
	defer r.server.remove(r)
	listeners := r.close()
	forEach(listeners, (*listener).stop) // before the contexts end, so that streams say that it is the server that ends
	r.kill()
	r.leaving.Close()
	r.cancels.close()
	for _, l := range listeners {
		l.handling.Close() // what was taken before is answered
		l.free()
	}
}

// waitUntilIdle lets nothing more enter, and waits for what is being handled.
func (r *Registration) waitUntilIdle(ctx context.Context, listeners []*listener) error {
	for _, l := range listeners {
		l.handling.Close()
	}
	for _, l := range listeners {
		if err := waitFor(ctx, l.handling.Close()); err != nil {
			return err
		}
	}
	return waitFor(ctx, r.leaving.Close())
}

// forEach calls f with all listeners at the same time: each waits for the broker, and some share a subject there.
func forEach(listeners []*listener, f func(*listener)) {
	var calls sync.WaitGroup
	for _, l := range listeners {
		calls.Go(func() { f(l) })
	}
	calls.Wait()
}

// close refuses new listeners and returns the present ones.
func (r *Registration) close() []*listener {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.presentLocked()
}

// present returns the listeners at this moment.
func (r *Registration) present() []*listener {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.presentLocked()
}

func (r *Registration) presentLocked() []*listener {
	return slices.Collect(maps.Values(r.listeners))
}

// withoutTopics returns new listeners for every method that has no topics.
func (r *Registration) withoutTopics() (listeners []*listener) {
	for _, method := range r.methods {
		if !method.method.Topics() {
			listeners = append(listeners, newListener(method, nil))
		}
	}
	return listeners
}

// start makes the service reachable, by the listeners that it has to begin with.
func (r *Registration) start(ctx context.Context, listeners []*listener) error {
	if len(r.methods) == 0 { // a service of subscriptions only
		return nil
	}
	channel := bus.Channel(wire.CancelChannel(r.service.WireName()))
	if err := r.cancels.subscribe(ctx, r.server.bus, channel, bus.Broadcast, r.onCancel); err != nil {
		return errors.NewErrorf(errors.Unavailable, "service %s: the bus does not let it listen: %w", r.service.Name(), err)
	}
	for _, l := range listeners {
		if err := r.listen(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// listen makes a method reachable.
func (r *Registration) listen(ctx context.Context, l *listener) error {
	if err := r.addListener(l); err != nil {
		l.free()
		return err
	}
	if err := l.open(ctx); err != nil {
		r.forget(l)
		l.free()
		if r.running.Err() != nil {
			return errors.ErrServerClosed
		}
		return errors.NewErrorf(errors.Unavailable, "method %s: the bus does not let it listen: %w", l.method.method.FullName(), err)
	}
	return nil
}

// addListener takes a listener before it is open, so that a close meanwhile finds it.
func (r *Registration) addListener(l *listener) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errors.ErrServerClosed
	}
	if r.listeners[l.name] != nil {
		return errors.NewErrorf(errors.AlreadyExists, "method %s: topic %q is already registered",
			l.method.method.FullName(), l.topic)
	}
	r.listeners[l.name] = l
	return nil
}

// forget takes a listener out, and not another one that has its place.
func (r *Registration) forget(l *listener) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listeners[l.name] == l {
		delete(r.listeners, l.name)
	}
}

// stopListening reports false if there is no such listener. What is being handled goes on, and may still be granted.
func (r *Registration) stopListening(channel string) bool {
	r.mu.Lock()
	l := r.listeners[channel]
	if l == nil || r.closed { // a close has them all
		r.mu.Unlock()
		return l != nil
	}
	delete(r.listeners, channel)
	r.leaving.Enter() // so that a close waits for it, which comes after this
	r.mu.Unlock()
	l.stop()
	r.leave(l)
	return true
}

// leave lets nothing more enter a listener, which is inside the gate for those, and frees it when what it is handling has
// ended.
func (r *Registration) leave(l *listener) {
	idle := l.handling.Close()
	select {
	case <-idle:
		l.free()
		r.leaving.Leave()
		return
	default:
	}
	go func() { // Close waits for it, by the gate
		defer r.leaving.Leave()
		<-idle
		l.free()
	}()
}
