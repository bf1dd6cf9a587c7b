package serve

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Start starts to serve s, which must come from NewService and must not have been started. It
// subscribes to the channels of the methods and announces s to clients and other servers. If Start
// fails, it kills s. After Shutdown or Kill, it returns errors.ErrServerClosed.
func (e *Engine) Start(s *Service) error {
	if err := e.activate(s); err != nil {
		s.Kill()
		return err
	}
	e.recordChange(ServiceAdded, s.Descriptor)
	return nil
}

// activate adds s to the engine, subscribes to the channels of its methods, and announces s to
// clients and other servers.
func (e *Engine) activate(s *Service) error {
	if err := e.add(s); err != nil {
		return err
	}
	s.setRecorders()
	// A concurrent Drain waits until the endpoints are open.
	s.changeMu.RLock()
	defer s.changeMu.RUnlock()
	ctx, cancel := context.WithTimeout(e.ctx, e.Timeout)
	defer cancel()
	err := s.open(ctx, s.newTopiclessEndpoints())
	if err != nil && e.ctx.Err() != nil {
		return errors.ErrServerClosed
	}
	if err == nil {
		s.announce(wire.PresenceServing, s.currentEndpoints()...)
		s.served.Store(true)
	}
	return err
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

// subscribePresence subscribes to the channel for discovery requests and to the unicast channel of
// this server. If the bus does not count receivers, it also subscribes to the channel for
// announcements. It does nothing if clients need not know the servers; see
// [transport.Traits.Announces]. If the broker denies one of the channels, subscribePresence logs
// one warning, skips the remaining channels, and returns nil.
func (s *Service) subscribePresence(ctx context.Context) error {
	traits, service := s.engine.traits, s.Descriptor.WireName()
	if !s.hasMethod(traits.Announces) {
		return nil
	}
	discovery, unicast, announcements := &s.discoverySubscription, &s.unicast.requests, &s.unicast.peers.announcements
	slower := "the more servers a queue has, the more a queue call costs"
	if !traits.CountsReceivers {
		slower = "multi calls last until their timeout"
	}
	err := s.subscribeIfPermitted(ctx, discovery, bus.Channel(wire.DiscoverChannel(service)), s.onDiscover,
		"the broker does not permit to subscribe to discovery, so that clients do not know this server: "+slower)
	if err != nil || !discovery.IsOpen() {
		return err
	}
	if !traits.CountsReceivers {
		slower = "the first affinity call of a conn takes up to 0.2 s longer"
	}
	err = s.subscribeIfPermitted(ctx, unicast, s.unicast.channel(), s.unicast.onFrame,
		"the broker does not permit to subscribe to a channel of this server alone: "+slower)
	if err != nil || !unicast.IsOpen() || traits.CountsReceivers {
		return err
	}
	unicast.NotifyRenewed(s.unicast.announceAgain)
	if s.unicast.peers.isDeaf() {
		return nil
	}
	return s.subscribeIfPermitted(ctx, announcements, bus.Channel(wire.PresenceChannel(service)), s.unicast.onAnnouncement,
		"the broker does not permit to subscribe to the announcements of servers: "+slower)
}

// hasMethod reports whether matches returns true for any method that the service serves.
func (s *Service) hasMethod(matches func(m *registry.Method) bool) bool {
	for _, plan := range s.plans {
		if matches(plan.method) {
			return true
		}
	}
	return false
}
