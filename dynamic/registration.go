package dynamic

import (
	"context"
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Registration is one service on one server. It ends with Close or Kill, or with its server. [Registration.Replace] puts
// another version of the service in its place while it is called.
type Registration struct {
	server             *Server
	service            *registry.Service
	plans              map[string]*serverPlan // by method name; immutable
	publishers         map[string]*publisher  // by method name; immutable
	clients            *clientCache           // shared with the versions before and after it
	drainingEndpoints  *lifecycle.Gate        // inside: listeners that end before the registration, while they are handling something
	running            cancelTable
	cancelSubscription transport.LazySubscription
	interceptors       serverInterceptors // the server's and the service's

	// ctx is the context of the service's handlers; kill ends it.
	ctx    context.Context //nolint:containedctx // the life of the registration
	cancel context.CancelFunc

	// changeMu is held by Replace, and shared by those who change the topics.
	changeMu sync.RWMutex

	mu        sync.Mutex
	closed    bool
	replaced  bool
	endpoints map[string]*endpoint // by name of the request channel
}

func newRegistration(s *Server, service *registry.Service, interceptors serverInterceptors) *Registration {
	ctx, cancel := context.WithCancel(s.ctx)
	r := &Registration{
		server:             s,
		service:            service,
		publishers:         map[string]*publisher{},
		clients:            &clientCache{service: service.WireName()},
		drainingEndpoints:  lifecycle.NewGate(),
		cancelSubscription: transport.LazySubscription{ClosedErr: errors.ErrServerClosed},
		interceptors:       interceptors,
		ctx:                ctx,
		cancel:             cancel,
		endpoints:          map[string]*endpoint{},
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
	endpoints := r.markClosed()
	forEachConcurrently(endpoints, (*endpoint).drain)
	err := r.drain(ctx, endpoints)
	if err != nil {
		err = errors.NewErrorf(errors.FromContext(err).Code(),
			"service %s: handlers were still running: %w", r.service.Name(), err)
	}
	for _, e := range endpoints {
		e.close()
	}
	r.cancelSubscription.Close()
	r.cancel()
	return err
}

// Kill takes no more requests for the service, ends the contexts of its running handlers, and does not wait.
func (r *Registration) Kill() {
	defer r.server.remove(r)
	endpoints := r.markClosed()
	forEachConcurrently(endpoints, (*endpoint).drain) // before the contexts end, so that streams say that it is the server that ends
	r.cancel()
	r.drainingEndpoints.Close()
	r.cancelSubscription.Close()
	for _, e := range endpoints {
		e.inFlight.Close() // what was taken before is answered
		e.close()
	}
}

// drain lets nothing more enter, and waits for what is being handled.
func (r *Registration) drain(ctx context.Context, endpoints []*endpoint) error {
	for _, e := range endpoints {
		e.inFlight.Close()
	}
	for _, e := range endpoints {
		if err := waitFor(ctx, e.inFlight.Close()); err != nil {
			return err
		}
	}
	return waitFor(ctx, r.drainingEndpoints.Close())
}

// forEachConcurrently calls f with all listeners at the same time: each waits for the broker, and some share a subject there.
func forEachConcurrently(endpoints []*endpoint, f func(*endpoint)) {
	var calls sync.WaitGroup
	for _, e := range endpoints {
		calls.Go(func() { f(e) })
	}
	calls.Wait()
}

// markClosed refuses new listeners and returns the present ones.
func (r *Registration) markClosed() []*endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.currentEndpointsLocked()
}

// currentEndpoints returns the listeners at this moment.
func (r *Registration) currentEndpoints() []*endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.currentEndpointsLocked()
}

func (r *Registration) currentEndpointsLocked() []*endpoint {
	return slices.Collect(maps.Values(r.endpoints))
}

// newTopiclessEndpoints returns new listeners for every method that has no topics.
func (r *Registration) newTopiclessEndpoints() (endpoints []*endpoint) {
	for _, method := range r.plans {
		if !method.method.Topics() {
			endpoints = append(endpoints, newEndpoint(method, nil))
		}
	}
	return endpoints
}

// open makes the service reachable, by the listeners that it has to begin with.
func (r *Registration) open(ctx context.Context, endpoints []*endpoint) error {
	if len(r.plans) == 0 { // a service of subscriptions only
		return nil
	}
	channel := bus.Channel(wire.CancelChannel(r.service.WireName()))
	if err := r.cancelSubscription.Subscribe(ctx, r.server.bus, channel, bus.Broadcast, r.onCancel); err != nil {
		return errors.NewErrorf(errors.Unavailable, "service %s: the bus does not let it listen: %w", r.service.Name(), err)
	}
	for _, e := range endpoints {
		if err := r.openEndpoint(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// openEndpoint makes a method reachable.
func (r *Registration) openEndpoint(ctx context.Context, e *endpoint) error {
	if err := r.addEndpoint(e); err != nil {
		e.close()
		return err
	}
	if err := e.subscribe(ctx); err != nil {
		r.removeEndpoint(e)
		e.close()
		if r.ctx.Err() != nil {
			return errors.ErrServerClosed
		}
		return errors.NewErrorf(errors.Unavailable, "method %s: the bus does not let it listen: %w", e.plan.method.FullName(), err)
	}
	return nil
}

// addEndpoint takes a listener before it is open, so that a close meanwhile finds it.
func (r *Registration) addEndpoint(e *endpoint) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errors.ErrServerClosed
	}
	if r.endpoints[e.name] != nil {
		return errors.NewErrorf(errors.AlreadyExists, "method %s: topic %q is already registered",
			e.plan.method.FullName(), e.topic)
	}
	r.endpoints[e.name] = e
	return nil
}

// removeEndpoint takes a listener out, and not another one that has its place.
func (r *Registration) removeEndpoint(e *endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.endpoints[e.name] == e {
		delete(r.endpoints, e.name)
	}
}

// drainEndpoint reports false if there is no such listener. What is being handled goes on, and may still be granted.
func (r *Registration) drainEndpoint(channel string) bool {
	r.mu.Lock()
	e := r.endpoints[channel]
	if e == nil || r.closed { // a close has them all
		r.mu.Unlock()
		return e != nil
	}
	delete(r.endpoints, channel)
	r.drainingEndpoints.Enter() // so that a close waits for it, which comes after this
	r.mu.Unlock()
	e.drain()
	r.closeWhenIdle(e)
	return true
}

// closeWhenIdle lets nothing more enter a listener, which is inside the gate for those, and frees it when what it is handling has
// ended.
func (r *Registration) closeWhenIdle(e *endpoint) {
	idle := e.inFlight.Close()
	select {
	case <-idle:
		e.close()
		r.drainingEndpoints.Leave()
		return
	default:
	}
	go func() { // Close waits for it, by the gate
		defer r.drainingEndpoints.Leave()
		<-idle
		e.close()
	}()
}

func (r *Registration) panics() panicReporter {
	return panicReporter{r.server.options.logger, r.interceptors.panics}
}

// Publish sends an update to the subscribers of a method: to all of them with MULTI routing, otherwise to one. The
// message is of the method's output type and must not change until Publish returns, which is when the bus has
// taken it: one that the bus loses later is counted there, see [bus.Stats]. That nobody is subscribed is no error.
// [WithTopic] names the topic of a method that takes one; metadata of ctx or of [WithMetadata] goes with the update, and
// interceptors of subscriptions see it, see [RequestInfoFromContext]; other options have no effect.
//
// It fails with the code invalid_argument if the service has no such subscription method, or if the message or
// the topic does not fit it, or as the bus does.
func (r *Registration) Publish(ctx context.Context, method string, message proto.Message, opts ...RequestOption) error {
	p := r.publishers[method]
	if p == nil {
		return errors.NewErrorf(errors.InvalidArgument, "service %s has no method %s%s",
			r.service.Name(), method, transport.Suggest(method, r.service.Methods(), (*registry.Method).Name))
	}
	select {
	case <-r.ctx.Done():
		return errors.ErrServerClosed
	default:
	}
	return p.publish(ctx, message, opts)
}

// onCancel takes a frame from the bus; it never blocks.
func (r *Registration) onCancel(frame []byte) {
	cancel, ok := transport.Decode(
		frame, wire.KindCancel, r.server.options.maxFrameSize, wire.ParseCancel, &r.server.stats.badFrames)
	if !ok {
		return
	}
	r.running.cancel(cancel.RequestID)
}

// trackRequest lets a request or stream be canceled by its client from now on, before a cancel can come, and, if it is to be
// claimed, returns where the client's choice will arrive, before the client can choose.
func (r *Registration) trackRequest(requestID []byte, ctx *lazyctx.Context, claims bool) (grant chan bool) {
	r.running.add(requestID, ctx)
	if claims {
		grant = r.server.pendingClaims.register(requestID)
	}
	return grant
}

// untrackRequest undoes await.
func (r *Registration) untrackRequest(requestID []byte, ctx *lazyctx.Context, grant chan bool) {
	r.running.remove(requestID, ctx)
	if grant != nil {
		r.server.pendingClaims.deregister(requestID, grant)
	}
}
