package dynamic

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Registration is a service registered on a server, as returned by [Server.Register]. It ends when
// Close or Kill is called, or when the server stops. [Registration.Replace] replaces the service
// with another version without a gap. All methods are safe for concurrent use.
type Registration struct {
	server  *Server
	service *registry.Service
	// plans and publishers are immutable and keyed by method name. plans contains no subscription
	// methods.
	plans      map[string]*serverPlan
	publishers map[string]*publisher
	// recorders holds the recorders of all methods, keyed by method name.
	recorders map[string]*recorderSlot
	// served reports whether the server has begun to serve the service.
	served atomic.Bool
	// clients caches the clients of the service. All versions of the service share the cache. The
	// known offsets of the clients' clocks are therefore still known after Replace.
	clients *clientCache
	// drainingEndpoints counts the endpoints that have been deregistered or replaced but are still
	// handling requests.
	drainingEndpoints *lifecycle.Gate
	// cancelSubscription receives the clients' cancel frames.
	cancelSubscription transport.LazySubscription
	// discoverySubscription receives the discovery requests of clients.
	discoverySubscription transport.LazySubscription
	// unicast receives the frames that are sent to this server only.
	unicast *unicastReceiver
	// interceptors holds the server's interceptors, followed by those of the service.
	interceptors serverInterceptors

	// ctx is the parent of the contexts of the service's handlers. Close and Kill cancel it.
	ctx    context.Context //nolint:containedctx // it has the registration's lifetime
	cancel context.CancelFunc

	// changeMu is locked during Replace and while the registration is suspended or resumed. It is
	// read-locked during Register, and while topics are registered or deregistered. Topics
	// therefore cannot change during Replace. Changes of topics do not wait for each other.
	changeMu sync.RWMutex
	// servesWhileDrained reports whether ServeWhileDrained is used.
	servesWhileDrained bool
	// suspended reports whether new endpoints are suspended. It changes only while changeMu is
	// locked, or before the registration has endpoints.
	suspended atomic.Bool
	// leaving holds the endpoints that suspended ones have replaced. Those that have been closed
	// may be missing. It is guarded by changeMu.
	leaving []*endpoint

	mu sync.Mutex
	// end tracks how far the registration has been closed. It is nil until Close or Kill is called.
	end      *registrationEnd
	replaced bool
	// endpoints holds the endpoints that accept requests, and those that are suspended. The keys
	// are the names of the endpoints.
	endpoints map[string]*endpoint
}

// newRegistration returns a registration without plans, endpoints or subscriptions.
func newRegistration(s *Server, service *registry.Service, interceptors serverInterceptors) *Registration {
	ctx, cancel := context.WithCancel(s.ctx)
	r := &Registration{
		server:                s,
		service:               service,
		publishers:            map[string]*publisher{},
		recorders:             map[string]*recorderSlot{},
		clients:               &clientCache{service: service.WireName()},
		drainingEndpoints:     lifecycle.NewGate(),
		cancelSubscription:    transport.LazySubscription{ClosedErr: errors.ErrServerClosed},
		discoverySubscription: transport.LazySubscription{ClosedErr: errors.ErrServerClosed},
		interceptors:          interceptors,
		ctx:                   ctx,
		cancel:                cancel,
		endpoints:             map[string]*endpoint{},
	}
	r.unicast = newUnicastReceiver(r)
	context.AfterFunc(ctx, func() {
		s.pendingClaims.abandon(func(e *endpoint) bool { return e.plan.registration == r })
	})
	for _, method := range service.Methods() {
		p := newPublisher(s.bus, method, interceptors.publish, s.options.allowEmptyParts)
		p.tap = &s.tap
		r.publishers[method.Name()] = p
		r.recorders[method.Name()] = &recorderSlot{}
	}
	return r
}

// Service returns the registered service.
func (r *Registration) Service() *registry.Service { return r.service }

// currentEndpoints returns the endpoints that accept requests, and those that are suspended.
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

// open subscribes to the channels that all methods of the service share, such as the one for cancel
// frames, and opens the endpoints.
func (r *Registration) open(ctx context.Context, endpoints []*endpoint) error {
	if len(r.plans) == 0 {
		// All methods are subscriptions, so the service receives nothing from the bus.
		return nil
	}
	if err := r.subscribeCancels(ctx); err != nil {
		return err
	}
	if err := r.subscribePresence(ctx); err != nil {
		return err
	}
	for _, e := range endpoints {
		if err := r.openEndpoint(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// subscribeCancels subscribes to the cancel frames of clients. A broker with access rules for psrpc
// may deny this. In that case, subscribeCancels logs a warning and returns nil. The handlers of
// calls that their callers abandon then run until their deadlines.
func (r *Registration) subscribeCancels(ctx context.Context) error {
	channel := bus.Channel(wire.CancelChannel(r.service.WireName()))
	return r.subscribeIfPermitted(ctx, &r.cancelSubscription, channel, r.onCancel,
		"the broker does not permit to subscribe to cancellations: the handler of a call that its caller abandons runs "+
			"until its deadline")
}

// subscribeIfPermitted subscribes to a channel that psrpc does not use. If the broker does not
// permit the subscription, subscribeIfPermitted logs a warning with the text in the argument
// warning and returns nil.
func (r *Registration) subscribeIfPermitted(
	ctx context.Context, subscription *transport.LazySubscription, channel bus.Channel, handler bus.Handler, warning string,
) error {
	err := subscription.Subscribe(ctx, r.server.bus, channel, bus.Broadcast, handler)
	if transport.IsPermissionDenied(err) {
		r.server.options.logger.Warn("dynpsrpc: "+warning,
			slog.String("service", string(r.service.Name())), slog.Any("error", err))
		return nil
	}
	if err != nil {
		return transport.WithSubscribeCode(err, "service "+string(r.service.Name())+": cannot subscribe")
	}
	return nil
}

// openEndpoint adds an endpoint to the registration and subscribes to the endpoint's channels. If
// that fails, openEndpoint removes and closes the endpoint.
func (r *Registration) openEndpoint(ctx context.Context, e *endpoint) error {
	if err := r.addEndpoint(e); err != nil {
		r.closeUntil(ctx, e.close)
		return err
	}
	if err := e.subscribe(ctx); err != nil {
		r.removeEndpoint(e)
		r.closeUntil(ctx, e.close)
		if r.ctx.Err() != nil {
			return errors.ErrServerClosed
		}
		return transport.WithSubscribeCode(err, "method "+e.plan.method.FullName()+": cannot subscribe")
	}
	return nil
}

// closeUntil calls f, which ends bus subscriptions of the registration. It waits until f has
// returned, but no longer than closeGrace after ctx has ended. It reports whether f has returned.
// If the broker does not answer, f continues in the background. Close waits for that goroutine,
// unless Close was called earlier.
func (r *Registration) closeUntil(ctx context.Context, f func()) bool {
	tracked, done := r.drainingEndpoints.Enter(), make(chan struct{})
	go func() {
		defer close(done)
		f()
		if tracked {
			r.drainingEndpoints.Leave()
		}
	}()
	return waitWithGrace(ctx, done) == nil
}

// addEndpoint adds an endpoint to the registration. It must be called before the endpoint
// subscribes, so that a concurrent Close or Kill also closes the new endpoint.
func (r *Registration) addEndpoint(e *endpoint) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end != nil {
		return errors.ErrServerClosed
	}
	if r.endpoints[e.name] != nil {
		return errors.NewErrorf(errors.AlreadyExists, "method %s: topic %.200q is already registered",
			e.plan.method.FullName(), e.topic)
	}
	r.endpoints[e.name] = e
	return nil
}

// removeEndpoint removes the endpoint e. It keeps another endpoint that has been added with the
// same name.
func (r *Registration) removeEndpoint(e *endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.endpoints[e.name] == e {
		delete(r.endpoints, e.name)
	}
}

// drainEndpoint removes an endpoint and stops accepting requests for it. Requests that are being
// handled continue, and claimed ones may still be granted. It does not wait for the bus, because
// the broker may not answer. The channel drained is closed when the bus delivers no more requests.
// ok is false if there is no endpoint with this name.
func (r *Registration) drainEndpoint(name string) (drained <-chan struct{}, ok bool) {
	r.mu.Lock()
	e := r.endpoints[name]
	if e == nil || r.end != nil {
		// If r.end is set, runEnd drains all endpoints.
		end := r.end
		r.mu.Unlock()
		if e == nil {
			return nil, false
		}
		return end.drained, true
	}
	delete(r.endpoints, name)
	// Close does not find e in endpoints any more, so it waits for drainingEndpoints instead. Enter
	// cannot fail, because r.end is nil, and Close sets r.end before it closes drainingEndpoints.
	r.drainingEndpoints.Enter()
	r.mu.Unlock()
	done := make(chan struct{})
	// Close waits for drainingEndpoints and thus for this goroutine.
	go func() {
		r.announce(wire.PresenceDraining, e)
		e.drain()
		r.closeWhenIdle(e)
		close(done)
	}()
	return done, true
}

// closeWhenIdle makes e reject further requests and closes it once the requests and streams that it
// is handling have ended. The caller must have called r.drainingEndpoints.Enter for e.
// closeWhenIdle calls the corresponding Leave.
func (r *Registration) closeWhenIdle(e *endpoint) {
	idle := e.inFlight.Close()
	select {
	case <-idle:
		r.announce(wire.PresenceLeft, e)
		e.close()
		r.drainingEndpoints.Leave()
		return
	default:
	}
	// Close waits for drainingEndpoints and thus for this goroutine.
	go func() {
		defer r.drainingEndpoints.Leave()
		<-idle
		r.announce(wire.PresenceLeft, e)
		e.close()
	}()
}

// panics returns a reporter for panics in the service's handlers and interceptors.
func (r *Registration) panics() panicReporter {
	return panicReporter{r.server.options.logger, r.interceptors.panics, r}
}

// Publish sends an update to the subscribers of a method. If the method has MULTI routing, all
// subscribers receive the update; otherwise, one of them does. message must be of the method's
// output type and must not be modified until Publish returns. Publish returns once the bus has
// accepted the update. Updates that the bus loses after that are counted in [bus.Stats]. Publishing
// without any subscribers is not an error.
//
// [WithTopic] sets the topic if the method has topics. The metadata of ctx and of [WithMetadata] is
// sent with the update; subscription interceptors can read it with [RequestInfoFromContext]. Other
// options have no effect.
//
// Publish returns an error with code invalid_argument if the service has no subscription method of
// this name. It also does so if the message or the topic does not match the method. After Close or
// Kill, or after the server has stopped, Publish returns errors.ErrServerClosed. If the bus fails,
// Publish returns the error of the bus.
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
	if err := p.publish(ctx, message, opts); err != nil {
		return err
	}
	if recorder := r.recorders[method].Load(); recorder != nil {
		(*recorder).RecordUpdate()
	}
	return nil
}

// onCancel handles a frame with which a client cancels a request. The bus calls it, so it never
// blocks.
func (r *Registration) onCancel(frame []byte) {
	cancel, _, err := transport.Decode(frame, wire.KindCancel, r.server.options.decompression(), wire.ParseCancel)
	if err != nil {
		r.server.drops.addBad(bus.Channel(wire.CancelChannel(r.service.WireName())), err)
		return
	}
	r.server.running.cancel(cancel.RequestID, r)
	r.server.pendingClaims.resolve(cancel.RequestID, false)
}

// endpointName returns the name of a method's endpoint for a topic. It is the name of the request
// channel. Different topics therefore have different endpoint names.
func (r *Registration) endpointName(method *registry.Method, parts []string) string {
	return wire.RequestChannel(r.service.WireName(), method.WireName(), parts, method.Queue()).Name
}
