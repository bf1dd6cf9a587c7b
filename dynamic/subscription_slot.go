package dynamic

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// subscriptionSlot holds a bus subscription that one goroutine makes and that another may close, before,
// meanwhile or after.
type subscriptionSlot struct {
	whenClosed error // what subscribe returns then

	mu           sync.Mutex
	closed       bool
	subscription bus.Subscription // nil if there is none yet
}

// subscribe fills the slot; a full one stays as it is. One goroutine at a time may call it.
func (s *subscriptionSlot) subscribe(
	ctx context.Context, b bus.Bus, channel bus.Channel, join bus.Mode, deliver bus.Handler,
) error {
	s.mu.Lock()
	full, closed := s.subscription != nil, s.closed
	s.mu.Unlock()
	if closed {
		return s.whenClosed
	}
	if full {
		return nil
	}
	subscription, err := b.Subscribe(ctx, channel, join, deliver)
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
		return s.whenClosed
	}
	return nil
}

// sharers returns how many subscriptions the bus counts as one receiver, if this one is among several; else 0.
func (s *subscriptionSlot) sharers() uint32 {
	s.mu.Lock()
	shared, ok := s.subscription.(bus.Multiplexed)
	s.mu.Unlock()
	if !ok {
		return 0
	}
	if sharers := shared.Subscribers(); sharers > 1 {
		return uint32(sharers) //nolint:gosec // as many as fit into memory
	}
	return 0
}

// close returns when nothing more will be delivered.
func (s *subscriptionSlot) close() {
	s.mu.Lock()
	s.closed = true
	subscription := s.subscription
	s.mu.Unlock()
	if subscription != nil {
		subscription.Close()
	}
}
