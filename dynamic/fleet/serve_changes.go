package fleet

import (
	"context"
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// scopeRetry is how long a server waits before it tries again to register scopes that the bus has
// not accepted.
const scopeRetry = 5 * time.Second

// healthChanged adds a change of the health to the queue.
func (s *Status) healthChanged(service string, status ServingStatus, text string) {
	s.change(Change{Kind: ChangeHealth, Service: service, Status: status, Text: text}, nil)
}

// change adds a change to the queue. It never blocks. If the queue is full, the change is dropped.
func (s *Status) change(c Change, service *registry.Service) {
	c.At = time.Now()
	s.changes.Put(queuedChange{c, service})
}

// work publishes changes until s.ctx ends. Before it publishes that a service was added, it
// registers the service's scopes. Clients that receive the change can therefore ask about the
// service.
func (s *Status) work() {
	s.changes.Run(s.ctx.Done(), func(c queuedChange) {
		if s.ctx.Err() != nil {
			return
		}
		if c.Kind != ChangeHealth {
			s.retryScopes()
		}
		if c.Kind != ChangeServiceRemoved && c.service != nil {
			c.Digest = s.services.digest(c.service)
		}
		s.publish(c.Change)
	})
}

// retryScopes registers the scopes of the current services. If the bus does not accept them,
// retryScopes tries again later.
func (s *Status) retryScopes() {
	err := s.updateScopes()
	if err == nil || s.ctx.Err() != nil {
		return
	}
	s.server.Logger().Warn("dynpsrpc: cannot register the scopes of services, so that questions about them miss this server",
		slog.Any("error", err))
	if s.retrying.Swap(true) {
		return
	}
	time.AfterFunc(scopeRetry, func() {
		s.retrying.Store(false)
		s.change(Change{}, nil)
	})
}

// publish sends a change to all subscribers. If this fails, publish only logs the error.
// Subscribers must expect to miss changes, because they receive none while they are disconnected
// from the broker.
func (s *Status) publish(c Change) {
	registration := s.registration.Load()
	if c.Kind == 0 || registration == nil {
		// A change without a kind only wakes the goroutine that runs work, so that it registers the
		// scopes again; see retryScopes. s.registration is nil until the control service is
		// registered.
		return
	}
	if c.At.IsZero() {
		c.At = time.Now()
	}
	c.ServerID = s.server.ID()
	ctx, cancel := context.WithTimeout(context.Background(), s.options.bounds.publish)
	defer cancel()
	if err := registration.Publish(ctx, changesMethod, toMessage(&c)); err != nil {
		s.server.Logger().Debug("dynpsrpc: cannot publish a change of the server", slog.Any("error", err))
	}
}

// updateScopes registers the topics for the current services and deregisters all others.
func (s *Status) updateScopes() error {
	id := s.server.ID()
	wanted := map[[2]string]struct{}{
		{queryMethod, scopeAll}: {}, {queryMethod, shardScope(shardOf(id))}: {}, {queryMethod, serverScope(id)}: {},
	}
	current := s.server.Services()
	s.services.prune(current)
	for _, service := range current {
		wanted[[2]string{queryMethod, serviceScope(service.WireName())}] = struct{}{}
		if digest := s.services.digest(service); digest != (Digest{}) {
			wanted[[2]string{describeMethod, digest.String()}] = struct{}{}
		}
	}
	defer s.services.setScoped(current)
	return s.scopes.update(wanted)
}

// awaitScopes waits until clients can ask for the descriptors of all services that the server has.
// It waits for at most bounds.scopes.
func (s *Status) awaitScopes(ctx context.Context) {
	if s.services.unscoped(s.server.Services()) == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.bounds.scopes)
	defer cancel()
	for more := s.services.unscoped(s.server.Services()); more != nil; more = s.services.unscoped(s.server.Services()) {
		select {
		case <-more:
		case <-ctx.Done():
			return
		case <-s.ctx.Done():
			return
		}
	}
}
