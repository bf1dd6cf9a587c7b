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
)

// Service is one version of a service on an [Engine]. It ends when Close or Kill is called, or when
// the engine stops. Replace replaces it with another version without a gap. All methods are safe
// for concurrent use.
type Service struct {
	ServiceConfig

	engine *Engine
	// plans holds the plans of all methods except subscriptions, keyed by method name. It is
	// immutable.
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

// onCancel handles a frame with which a client cancels a request. The bus calls it, so it never
// blocks.
func (s *Service) onCancel(frame []byte) {
	cancel, _, err := transport.Decode(frame, wire.KindCancel, s.engine.limits, wire.ParseCancel)
	if err != nil {
		s.engine.drops.AddBad(bus.Channel(wire.CancelChannel(s.Descriptor.WireName())), err)
		return
	}
	s.engine.running.cancel(cancel.RequestID, s.ctx)
	s.engine.pendingClaims.resolve(cancel.RequestID, false)
}
