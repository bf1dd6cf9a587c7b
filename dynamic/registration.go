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

// Registration is one service on one server. It ends with Close or Kill, or with its server.
type Registration struct {
	server       *Server
	service      *registry.Service
	methods      map[string]*servedMethod // by method name; immutable
	publishers   map[string]*publisher    // by method name; immutable
	peers        peerTable
	handling     *lifecycle.Gate // inside: requests being handled
	active       activeRequests
	cancels      subscriptionSlot
	interceptors serverInterceptors // the server's and the service's

	// running is the context of the service's handlers; kill ends it.
	running context.Context //nolint:containedctx // the life of the registration
	kill    context.CancelFunc

	mu        sync.Mutex
	closed    bool
	listeners map[string]*listener // by name of the request channel
}

func newRegistration(s *Server, service *registry.Service, interceptors serverInterceptors) *Registration {
	running, kill := context.WithCancel(s.running)
	r := &Registration{
		server:       s,
		service:      service,
		publishers:   map[string]*publisher{},
		peers:        peerTable{service: service.WireName()},
		handling:     lifecycle.NewGate(),
		cancels:      subscriptionSlot{whenClosed: errors.ErrServerClosed},
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
// registered anew. Further calls wait too.
func (r *Registration) Close(ctx context.Context) error {
	defer r.server.remove(r)
	listeners := r.close()
	stopAll(listeners)
	err := waitFor(ctx, r.handling.Close())
	if err != nil {
		err = errors.NewErrorf(errors.FromContext(err).Code(),
			"service %s: handlers were still running: %w", r.service.Name(), err)
	}
	for _, l := range listeners {
		l.grants.close()
	}
	r.cancels.close()
	r.kill()
	return err
}

// Kill takes no more requests for the service, ends the contexts of its running handlers, and does not wait.
func (r *Registration) Kill() {
	defer r.server.remove(r)
	listeners := r.close()
	stopAll(listeners) // before the contexts end, so that streams say that it is the server that ends
	r.kill()
	r.handling.Close() // what was taken before is answered
	r.cancels.close()
	for _, l := range listeners {
		l.grants.close()
	}
}

// stopAll stops listeners at the same time: each waits for the broker, and some share a subject there.
func stopAll(listeners []*listener) {
	var stopping sync.WaitGroup
	for _, l := range listeners {
		stopping.Go(l.stop)
	}
	stopping.Wait()
}

// close refuses new listeners and returns the present ones.
func (r *Registration) close() []*listener {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return slices.Collect(maps.Values(r.listeners))
}

// listenWithoutTopics makes every method reachable that has no topics.
func (r *Registration) listenWithoutTopics(ctx context.Context) error {
	if len(r.methods) == 0 { // a service of subscriptions only
		return nil
	}
	channel := bus.Channel(wire.CancelChannel(r.service.WireName()))
	if err := r.cancels.subscribe(ctx, r.server.bus, channel, bus.Plain, r.onCancel); err != nil {
		return errors.NewErrorf(errors.Unavailable, "service %s: the bus does not let it listen: %w", r.service.Name(), err)
	}
	for _, method := range r.methods {
		if method.method.Topics() {
			continue
		}
		if err := r.listen(ctx, method, nil); err != nil {
			return err
		}
	}
	return nil
}

// listen makes a method reachable, on a topic if it takes one.
func (r *Registration) listen(ctx context.Context, method *servedMethod, topic []string) error {
	l := newListener(method, topic)
	if err := r.addListener(l); err != nil {
		return err
	}
	if err := l.open(ctx); err != nil {
		r.forget(l)
		l.stop()
		l.grants.close()
		if r.running.Err() != nil {
			return errors.ErrServerClosed
		}
		return errors.NewErrorf(errors.Unavailable, "method %s: the bus does not let it listen: %w", method.method.FullName(), err)
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
	name := l.requestChannel.Name
	if r.listeners[name] != nil {
		return errors.NewErrorf(errors.AlreadyExists, "method %s: topic %q is already registered",
			l.method.method.FullName(), l.topic)
	}
	r.listeners[name] = l
	return nil
}

// forget takes a listener out, and not another one that has its place.
func (r *Registration) forget(l *listener) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if name := l.requestChannel.Name; r.listeners[name] == l {
		delete(r.listeners, name)
	}
}

// stopListening reports false if there is no such listener. What is being handled goes on, and may still be granted.
func (r *Registration) stopListening(channel string) bool {
	r.mu.Lock()
	l := r.listeners[channel]
	delete(r.listeners, channel)
	r.mu.Unlock()
	if l == nil {
		return false
	}
	l.stop()
	idle := l.handling.Close()
	select {
	case <-idle:
		l.grants.close()
		return true
	default:
	}
	if !r.handling.Enter() {
		l.grants.close()
		return true
	}
	go func() { // Close waits for it, by the gate
		defer r.handling.Leave()
		<-idle
		l.grants.close()
	}()
	return true
}
