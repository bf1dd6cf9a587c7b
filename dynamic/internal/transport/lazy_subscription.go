package transport

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// LazySubscription holds a bus subscription that one goroutine makes and that another may close, before,
// meanwhile or after.
type LazySubscription struct {
	ClosedErr error // what subscribe returns then

	mu           sync.Mutex
	closed       bool
	subscription bus.Subscription // nil if there is none yet
}

// Subscribe fills the slot; a full one stays as it is. One goroutine at a time may call it.
func (s *LazySubscription) Subscribe(
	ctx context.Context, b bus.Bus, channel bus.Channel, mode bus.Mode, deliver bus.Handler,
) error {
	s.mu.Lock()
	exists, closed := s.subscription != nil, s.closed
	s.mu.Unlock()
	if closed {
		return s.ClosedErr
	}
	if exists {
		return nil
	}
	subscription, err := b.Subscribe(ctx, channel, mode, deliver)
	if err != nil {
		return err
	}
	s.mu.Lock()
	closed = s.closed
	if !closed {
		s.subscription = subscription
	}
	s.mu.Unlock()
	if closed {
		subscription.Close()
		return s.ClosedErr
	}
	return nil
}

// Subscribers returns how many subscriptions the bus counts as one receiver, if this one is among several; else 0.
func (s *LazySubscription) Subscribers() uint32 {
	s.mu.Lock()
	shared, ok := s.subscription.(bus.Multiplexed)
	s.mu.Unlock()
	if !ok {
		return 0
	}
	if subscribers := shared.Subscribers(); subscribers > 1 {
		return uint32(subscribers) //nolint:gosec // as many as fit into memory
	}
	return 0
}

// Close returns when nothing more will be delivered.
func (s *LazySubscription) Close() {
	s.mu.Lock()
	s.closed = true
	subscription := s.subscription
	s.mu.Unlock()
	if subscription != nil {
		subscription.Close()
	}
}
