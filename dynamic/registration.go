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

// Registration is one service on one server, as [Server.Register] returns it. It ends with Close,
// with Kill, or with its server. [Registration.Replace] puts another version of the service in its
// place without a gap. All methods may be called from many goroutines.
type Registration struct {
	server  *Server
	service *registry.Service
	// plans and publishers are immutable maps by method name. plans has no subscriptions.
	plans      map[string]*serverPlan
	publishers map[string]*publisher
	// clients is shared by all versions of the service, so that Replace keeps the clock offsets of
	// clients.
	clients *clientCache
	// drainingEndpoints counts the endpoints that were deregistered or replaced but still handle
	// requests.
	drainingEndpoints *lifecycle.Gate
	// running holds the requests that clients can cancel. cancelSubscription receives the cancels.
	running            cancelTable
	cancelSubscription transport.LazySubscription
	// interceptors are the interceptors of the server, followed by those of the service.
	interceptors serverInterceptors

	// ctx is the parent of the contexts of the service's handlers. Close and Kill cancel it.
	ctx    context.Context //nolint:containedctx // the life of the registration
	cancel context.CancelFunc

	// changeMu is locked by Replace and read-locked by changes of topics, so that Replace sees a
	// fixed set of topics but changes of topics do not wait for each other.
	changeMu sync.RWMutex

	mu        sync.Mutex
	closed    bool
	replaced  bool
	endpoints map[string]*endpoint // by endpoint.name
}

// newRegistration returns a registration without plans, endpoints or subscriptions.
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

// Service returns the registered service.
func (r *Registration) Service() *registry.Service { return r.service }

// Close stops accepting requests for the service and waits for its running handlers. If ctx ends
// first, Close cancels the contexts of the handlers and returns an error for which errors.Is(err,
// ctx.Err()) is true. Every call waits, also a second one. Afterwards the service can be registered
// again, unless another registration has replaced this one, see [Registration.Replace].
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

// Kill stops accepting requests for the service and cancels the contexts of its running handlers.
// It does not wait for them.
func (r *Registration) Kill() {
	defer r.server.remove(r)
	endpoints := r.markClosed()
	// The streams are closed before the contexts end, so that their clients receive
	// errors.ErrStreamEOF and not a canceled context.
	forEachConcurrently(endpoints, (*endpoint).drain)
	r.cancel()
	r.drainingEndpoints.Close()
	r.cancelSubscription.Close()
	for _, e := range endpoints {
		// Handlers that run now still send their responses.
		e.inFlight.Close()
		e.close()
	}
}

// drain closes the endpoints to further requests and waits for the requests and streams that are
// being handled, also those of endpoints that were removed earlier.
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

// forEachConcurrently calls f for all endpoints at the same time and waits for the calls. Each call
// may wait for the broker, so calls in sequence would add up their round trips.
func forEachConcurrently(endpoints []*endpoint, f func(*endpoint)) {
	var calls sync.WaitGroup
	for _, e := range endpoints {
		calls.Go(func() { f(e) })
	}
	calls.Wait()
}

// markClosed makes further changes of topics fail and returns the current endpoints.
func (r *Registration) markClosed() []*endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.currentEndpointsLocked()
}

// currentEndpoints returns the endpoints that accept requests.
func (r *Registration) currentEndpoints() []*endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.currentEndpointsLocked()
}

func (r *Registration) currentEndpointsLocked() []*endpoint {
	return slices.Collect(maps.Values(r.endpoints))
}

// newTopiclessEndpoints returns a new endpoint for each method without topics.
func (r *Registration) newTopiclessEndpoints() (endpoints []*endpoint) {
	for _, plan := range r.plans {
		if !plan.method.Topics() {
			endpoints = append(endpoints, newEndpoint(plan, nil))
		}
	}
	return endpoints
}

// open subscribes to cancels and opens the first endpoints of the service.
func (r *Registration) open(ctx context.Context, endpoints []*endpoint) error {
	if len(r.plans) == 0 {
		// A service that has only subscriptions receives nothing.
		return nil
	}
	channel := bus.Channel(wire.CancelChannel(r.service.WireName()))
	if err := r.cancelSubscription.Subscribe(ctx, r.server.bus, channel, bus.Broadcast, r.onCancel); err != nil {
		return errors.NewErrorf(errors.Unavailable, "service %s: cannot subscribe: %w", r.service.Name(), err)
	}
	for _, e := range endpoints {
		if err := r.openEndpoint(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// openEndpoint adds an endpoint and subscribes it. If that fails, it removes and closes the
// endpoint.
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
		return errors.NewErrorf(errors.Unavailable, "method %s: cannot subscribe: %w", e.plan.method.FullName(), err)
	}
	return nil
}

// addEndpoint adds an endpoint before it subscribes, so that a concurrent Close or Kill closes it.
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

// removeEndpoint removes e. It does not remove another endpoint with the same name.
func (r *Registration) removeEndpoint(e *endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.endpoints[e.name] == e {
		delete(r.endpoints, e.name)
	}
}

// drainEndpoint removes an endpoint and stops accepting its requests. Requests that are being
// handled continue and may still be granted. It returns false if there is no endpoint with this
// name.
func (r *Registration) drainEndpoint(name string) bool {
	r.mu.Lock()
	e := r.endpoints[name]
	if e == nil || r.closed { // Close and Kill drain all endpoints
		r.mu.Unlock()
		return e != nil
	}
	delete(r.endpoints, name)
	// Close no longer finds the endpoint in endpoints, so it waits for this counter. Enter
	// succeeds: Close sets closed, which is false here, before it closes the counter.
	r.drainingEndpoints.Enter()
	r.mu.Unlock()
	e.drain()
	r.closeWhenIdle(e)
	return true
}

// closeWhenIdle makes e reject further requests and closes it when the requests and streams that it
// handles have ended. The caller has entered drainingEndpoints for e; closeWhenIdle leaves it.
func (r *Registration) closeWhenIdle(e *endpoint) {
	idle := e.inFlight.Close()
	select {
	case <-idle:
		e.close()
		r.drainingEndpoints.Leave()
		return
	default:
	}
	go func() { // Close waits for it through drainingEndpoints
		defer r.drainingEndpoints.Leave()
		<-idle
		e.close()
	}()
}

// panics returns the reporter for panics of the service's handlers and interceptors.
func (r *Registration) panics() panicReporter {
	return panicReporter{r.server.options.logger, r.interceptors.panics}
}

// Publish sends an update to the subscribers of a method: to all of them if the method has MULTI
// routing, to one otherwise. The message is of the method's output type and must not be changed
// until Publish returns. Publish returns when the bus has taken the update; updates that the bus
// loses later are counted there, see [bus.Stats]. It is not an error if there are no subscribers.
//
// [WithTopic] selects the topic of a method that has topics. The metadata of ctx and of
// [WithMetadata] is sent with the update, and interceptors of subscriptions can read it, see
// [RequestInfoFromContext]. Other options have no effect.
//
// Publish fails with the code invalid_argument if the service has no subscription method of this
// name, or if the message or the topic does not match the method; with errors.ErrServerClosed after
// Close, Kill or the end of the server; and with the error of the bus.
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

// onCancel handles a frame in which a client cancels a request. The bus calls it; it never blocks.
func (r *Registration) onCancel(frame []byte) {
	cancel, ok := transport.Decode(
		frame, wire.KindCancel, r.server.options.maxFrameSize, wire.ParseCancel, &r.server.stats.badFrames)
	if !ok {
		return
	}
	r.running.cancel(cancel.RequestID)
}

// trackRequest registers a request or stream open before its claim is sent: from then on the client
// can cancel it through ctx, and, if claims is true, select this server. The result receives the
// client's selection; it is nil if claims is false.
func (r *Registration) trackRequest(requestID []byte, ctx *lazyctx.Context, claims bool) (grant chan bool) {
	r.running.add(requestID, ctx)
	if claims {
		grant = r.server.pendingClaims.register(requestID)
	}
	return grant
}

// untrackRequest undoes trackRequest.
func (r *Registration) untrackRequest(requestID []byte, ctx *lazyctx.Context, grant chan bool) {
	r.running.remove(requestID, ctx)
	if grant != nil {
		r.server.pendingClaims.deregister(requestID, grant)
	}
}

// endpointName returns the key of a method's endpoint for a topic. It is the name of the request
// channel, so two topics have the same key exactly if they are the same on the bus.
func (r *Registration) endpointName(method *registry.Method, parts []string) string {
	return wire.RequestChannel(r.service.WireName(), method.WireName(), parts, method.Queue()).Name
}
