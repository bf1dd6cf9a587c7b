package serve

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Service is one version of a service on an [Engine]. It ends when Close or Kill is called, or when
// the engine stops. Replace replaces it with another version without a gap. All methods are safe
// for concurrent use.
type Service struct {
	ServiceConfig

	engine *Engine
	// plans is immutable and keyed by method name. It contains no subscription methods.
	plans map[string]*plan
	// recorders holds the recorders of all methods, keyed by method name.
	recorders map[string]*recorderSlot
	// served reports whether the server has begun to serve the service.
	served atomic.Bool
	// clients caches the clients of the service. All versions of the service share the cache, so
	// the offsets of the clients' clocks remain known after Replace.
	clients *clientCache
	// drainingEndpoints counts the endpoints that have been deregistered or replaced but are still
	// handling requests. It also counts the running goroutines of closeUntil. Close waits for both.
	drainingEndpoints *lifecycle.Gate
	// cancelSubscription receives the clients' cancel frames.
	cancelSubscription transport.LazySubscription
	// discoverySubscription receives the discovery requests of clients.
	discoverySubscription transport.LazySubscription
	// unicast receives the frames that are sent to this server only.
	unicast *unicastReceiver
	// ctx is the parent of the contexts of the service's handlers. Close and Kill cancel it.
	ctx    context.Context //nolint:containedctx // it has the service's lifetime
	cancel context.CancelFunc

	// changeMu is locked during Replace and setSuspended. It is read-locked during Register, and
	// while topics are registered or deregistered. Topics therefore cannot change during Replace.
	// Changes of topics do not wait for each other.
	changeMu sync.RWMutex
	// suspended reports whether the service is suspended; see service_suspend.go. It changes only
	// while changeMu is locked, or before the service has endpoints.
	suspended atomic.Bool
	// leaving holds the endpoints that were replaced by suspended ones. Endpoints that have already
	// been closed may be missing. It is guarded by changeMu.
	leaving []*endpoint

	mu sync.Mutex
	// end tracks how far the service has been closed. It is nil until Close or Kill is called.
	end      *serviceEnd
	replaced bool
	// endpoints holds the endpoints that accept requests, and those that are suspended. The keys
	// are the names of the endpoints.
	endpoints map[string]*endpoint
}

// serviceEnd tracks how far a service has been closed. All calls to Close and Kill share
// it. The method runEnd runs on a goroutine of its own, because it may have to wait for a broker
// that does not answer.
type serviceEnd struct {
	endpoints []*endpoint
	// drained is closed when the bus delivers no more requests and all streams have been closed.
	drained chan struct{}
	// abandoned ends when runEnd must no longer wait for running handlers. runEnd then closes the
	// subscriptions to grants and cancellations. Calling the function abandon ends this context.
	abandoned context.Context //nolint:containedctx // it has the lifetime of the service's end
	abandon   context.CancelFunc
	// released is closed when all subscriptions of the service have been closed.
	released chan struct{}
}

// NewService returns a service without endpoints or subscriptions. The caller passes it to Start,
// or returns it from the function build of Replace.
func (e *Engine) NewService(config ServiceConfig) *Service {
	ctx, cancel := context.WithCancel(e.ctx)
	s := &Service{
		ServiceConfig:         config,
		engine:                e,
		plans:                 map[string]*plan{},
		recorders:             map[string]*recorderSlot{},
		clients:               &clientCache{service: config.Descriptor.WireName()},
		drainingEndpoints:     lifecycle.NewGate(),
		cancelSubscription:    transport.LazySubscription{ClosedErr: errors.ErrServerClosed},
		discoverySubscription: transport.LazySubscription{ClosedErr: errors.ErrServerClosed},
		ctx:                   ctx,
		cancel:                cancel,
		endpoints:             map[string]*endpoint{},
	}
	s.unicast = newUnicastReceiver(s)
	context.AfterFunc(ctx, func() {
		e.pendingClaims.abandon(func(e *endpoint) bool { return e.plan.service == s })
	})
	for _, method := range config.Descriptor.Methods() {
		s.recorders[method.Name()] = &recorderSlot{}
		if handler := config.Handlers[method.Name()]; handler != nil {
			s.plans[method.Name()] = newPlan(s, method, handler)
		}
	}
	return s
}

// Done returns a channel that is closed when the service has ended and its handlers are canceled.
func (s *Service) Done() <-chan struct{} { return s.ctx.Done() }

// currentEndpoints returns the endpoints that accept requests, and those that are suspended.
func (s *Service) currentEndpoints() []*endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.currentEndpointsLocked()
}

func (s *Service) currentEndpointsLocked() []*endpoint {
	return slices.Collect(maps.Values(s.endpoints))
}

// endpoint returns the endpoint named name, or nil if there is none.
func (s *Service) endpoint(name []byte) *endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.endpoints[string(name)]
}

// newTopiclessEndpoints returns a new endpoint for each method without topics.
func (s *Service) newTopiclessEndpoints() (endpoints []*endpoint) {
	for _, plan := range s.plans {
		if !plan.method.Topics() {
			endpoints = append(endpoints, newEndpoint(plan, nil))
		}
	}
	return endpoints
}

// open subscribes to the channels that all methods of the service share, such as the one for cancel
// frames, and opens the endpoints.
func (s *Service) open(ctx context.Context, endpoints []*endpoint) error {
	if len(s.plans) == 0 {
		// All methods are subscriptions, so the service receives nothing from the bus.
		return nil
	}
	if err := s.subscribeCancels(ctx); err != nil {
		return err
	}
	if err := s.subscribePresence(ctx); err != nil {
		return err
	}
	for _, e := range endpoints {
		if err := s.openEndpoint(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// subscribeCancels subscribes to the cancel frames of clients. A broker with access rules for psrpc
// may deny this. In that case, subscribeCancels logs a warning and returns nil. If a caller then
// abandons a call, the handler still runs until the deadline of the call.
func (s *Service) subscribeCancels(ctx context.Context) error {
	channel := bus.Channel(wire.CancelChannel(s.Descriptor.WireName()))
	return s.subscribeIfPermitted(ctx, &s.cancelSubscription, channel, s.onCancel,
		"the broker does not permit to subscribe to cancellations: the handler of a call that its caller abandons runs "+
			"until its deadline")
}

// subscribeIfPermitted subscribes to a channel that psrpc does not use. If the broker does not
// permit the subscription, subscribeIfPermitted logs a warning with the text in the argument
// warning and returns nil.
func (s *Service) subscribeIfPermitted(
	ctx context.Context, subscription *transport.LazySubscription, channel bus.Channel, handler bus.Handler, warning string,
) error {
	err := subscription.Subscribe(ctx, s.engine.bus, channel, bus.Broadcast, handler)
	if transport.IsPermissionDenied(err) {
		s.engine.Logger.Warn("dynpsrpc: "+warning,
			slog.String("service", string(s.Descriptor.Name())), slog.Any("error", err))
		return nil
	}
	if err != nil {
		return transport.WithSubscribeCode(err, "service "+string(s.Descriptor.Name())+": cannot subscribe")
	}
	return nil
}

// openEndpoint adds an endpoint to the service and subscribes to the endpoint's channels. If
// that fails, openEndpoint removes and closes the endpoint.
func (s *Service) openEndpoint(ctx context.Context, e *endpoint) error {
	if err := s.addEndpoint(e); err != nil {
		s.closeUntil(ctx, e.close)
		return err
	}
	if err := e.subscribe(ctx); err != nil {
		s.removeEndpoint(e)
		s.closeUntil(ctx, e.close)
		if s.ctx.Err() != nil {
			return errors.ErrServerClosed
		}
		return transport.WithSubscribeCode(err, "method "+e.plan.method.FullName()+": cannot subscribe")
	}
	return nil
}

// closeUntil calls f, which ends bus subscriptions of the service. It waits until f has returned,
// but no longer than lifecycle.CloseGrace after ctx has ended. It reports whether f has returned.
// If the broker does not answer, f continues in the background. Close then waits for f, unless
// Close was called before closeUntil.
func (s *Service) closeUntil(ctx context.Context, f func()) bool {
	tracked, done := s.drainingEndpoints.Enter(), make(chan struct{})
	go func() {
		defer close(done)
		f()
		if tracked {
			s.drainingEndpoints.Leave()
		}
	}()
	return lifecycle.WaitWithGrace(ctx, done) == nil
}

// addEndpoint adds an endpoint to the service. It must be called before the endpoint
// subscribes, so that a concurrent Close or Kill also closes the new endpoint.
func (s *Service) addEndpoint(e *endpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end != nil {
		return errors.ErrServerClosed
	}
	if s.endpoints[e.name] != nil {
		return errors.NewErrorf(errors.AlreadyExists, "method %s: topic %.200q is already registered",
			e.plan.method.FullName(), e.topic)
	}
	s.endpoints[e.name] = e
	return nil
}

// removeEndpoint removes the endpoint e. It keeps another endpoint that has been added with the
// same name.
func (s *Service) removeEndpoint(e *endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.endpoints[e.name] == e {
		delete(s.endpoints, e.name)
	}
}

// drainEndpoint removes an endpoint and stops accepting requests for it. Requests that are being
// handled continue, and claimed ones may still be granted. It does not wait for the bus, because
// the broker may not answer. The channel drained is closed when the bus delivers no more requests.
// ok is false if there is no endpoint with this name.
func (s *Service) drainEndpoint(name string) (drained <-chan struct{}, ok bool) {
	s.mu.Lock()
	e := s.endpoints[name]
	if e == nil || s.end != nil {
		// If s.end is set, runEnd drains all endpoints.
		end := s.end
		s.mu.Unlock()
		if e == nil {
			return nil, false
		}
		return end.drained, true
	}
	delete(s.endpoints, name)
	// Close does not find e in endpoints any more, so it waits for drainingEndpoints instead. Enter
	// cannot fail, because s.end is nil, and Close sets s.end before it closes drainingEndpoints.
	s.drainingEndpoints.Enter()
	s.mu.Unlock()
	done := make(chan struct{})
	// Close waits for drainingEndpoints and thus for this goroutine.
	go func() {
		s.announce(wire.PresenceDraining, e)
		e.drain()
		s.closeWhenIdle(e)
		close(done)
	}()
	return done, true
}

// closeWhenIdle makes e reject further requests and closes it once the requests and streams that it
// is handling have ended. The caller must have called s.drainingEndpoints.Enter for e.
// closeWhenIdle calls the corresponding Leave.
func (s *Service) closeWhenIdle(e *endpoint) {
	idle := e.inFlight.Close()
	select {
	case <-idle:
		s.announce(wire.PresenceLeft, e)
		e.close()
		s.drainingEndpoints.Leave()
		return
	default:
	}
	// Close waits for drainingEndpoints and thus for this goroutine.
	go func() {
		defer s.drainingEndpoints.Leave()
		<-idle
		s.announce(wire.PresenceLeft, e)
		e.close()
	}()
}

// onCancel handles a frame with which a client cancels a request. The bus calls it, so it never
// blocks.
func (s *Service) onCancel(frame []byte) {
	cancel, _, err := transport.Decode(frame, wire.KindCancel, s.engine.limits, wire.ParseCancel)
	if err != nil {
		s.engine.drops.AddBad(bus.Channel(wire.CancelChannel(s.Descriptor.WireName())), err)
		return
	}
	s.engine.running.cancel(cancel.RequestID, s)
	s.engine.pendingClaims.resolve(cancel.RequestID, false)
}

// endpointName returns the name of a method's endpoint for a topic. It is the name of the request
// channel. Different topics therefore have different endpoint names.
func (s *Service) endpointName(method *registry.Method, parts []string) string {
	return wire.RequestChannel(s.Descriptor.WireName(), method.WireName(), parts, method.Queue()).Name
}
