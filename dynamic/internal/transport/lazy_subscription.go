package transport

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
)

// LazySubscription is a bus subscription that is created when it is first needed, and only once.
// Only the field ClosedErr must be set before use. Close may be called before, during or after the
// creation. Close does not wait for a running call to Subscribe: if the broker answers after Close,
// Subscribe closes the new subscription.
type LazySubscription struct {
	// ClosedErr is the error that Subscribe returns after Close. It must be set before first use.
	ClosedErr error

	mu     sync.Mutex
	closed bool
	// subscription is nil until Subscribe succeeds.
	subscription bus.Subscription
}

// Subscribe subscribes to a channel of the bus, unless the subscription already exists. ctx limits
// how long Subscribe waits for the bus, but not the lifetime of the subscription. After an error of
// the bus, Subscribe may be called again. If Close has already been called, or is called in the
// meantime, Subscribe returns ClosedErr.
//
// Only one goroutine at a time may call Subscribe. The other methods are safe for concurrent use.
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

// IsOpen reports whether the subscription exists and Close has not been called.
func (s *LazySubscription) IsOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.subscription != nil && !s.closed
}

// NotifyRefused calls the method with the same name on the bus's subscription; see
// [bus.RefusalNotifier]. It does nothing if the subscription does not exist or has no such method.
func (s *LazySubscription) NotifyRefused(handler bus.Handler) {
	s.mu.Lock()
	notifier, ok := s.subscription.(bus.RefusalNotifier)
	s.mu.Unlock()
	if ok {
		notifier.NotifyRefused(handler)
	}
}

// NotifyRenewed calls the method with the same name on the bus's subscription; see
// [fanout.RenewalNotifier]. It does nothing if the subscription does not exist or has no such
// method.
func (s *LazySubscription) NotifyRenewed(handler func()) {
	s.mu.Lock()
	notifier, ok := s.subscription.(fanout.RenewalNotifier)
	s.mu.Unlock()
	if ok {
		notifier.NotifyRenewed(handler)
	}
}

// StartClose calls the method with the same name on the bus's subscription; see
// [fanout.CloseStarter]. It does nothing if the subscription does not exist or has no such method.
func (s *LazySubscription) StartClose() {
	s.mu.Lock()
	starter, ok := s.subscription.(fanout.CloseStarter)
	s.mu.Unlock()
	if ok {
		starter.StartClose()
	}
}

// Subscribers returns the number of subscriptions that the bus counts as one receiver, including
// this subscription. It returns 0 if the subscription does not exist or does not share its
// receiver.
func (s *LazySubscription) Subscribers() uint32 {
	s.mu.Lock()
	multiplexed, ok := s.subscription.(bus.Multiplexed)
	s.mu.Unlock()
	if !ok {
		return 0
	}
	if subscribers := multiplexed.Subscribers(); subscribers > 1 {
		return uint32(subscribers) //nolint:gosec // limited by memory
	}
	return 0
}

// Close closes the subscription if it exists, and makes later calls to Subscribe fail. No more
// frames are delivered once Close has returned. If a call to Subscribe is in progress, frames may
// still be delivered until that call returns. Close may be called more than once.
func (s *LazySubscription) Close() {
	s.mu.Lock()
	s.closed = true
	subscription := s.subscription
	s.mu.Unlock()
	if subscription != nil {
		subscription.Close()
	}
}
