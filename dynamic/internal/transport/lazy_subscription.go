package transport

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// LazySubscription is a subscription that is created when it is first needed. It is created at most
// once and may be closed before, during or after its creation. The zero value is ready to use,
// except that ClosedErr should be set.
//
// Subscribe may block until a broker answers, so it does not hold a lock while it waits, and Close
// does not wait for it. If the LazySubscription has been closed by the time the broker answers,
// Subscribe closes the new subscription itself.
type LazySubscription struct {
	// ClosedErr is the error that Subscribe returns after Close. It must be set before first use.
	ClosedErr error

	mu           sync.Mutex
	closed       bool
	subscription bus.Subscription // nil before Subscribe has succeeded
}

// Subscribe subscribes to channel. It does nothing if the subscription already exists, so it may be
// called again after an error. It returns the error of the bus, or ClosedErr if Close is called
// before Subscribe returns. ctx limits how long Subscribe waits for the bus, not the lifetime of
// the subscription.
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

// Subscribers returns the number of subscriptions, including this one, that the bus counts together
// as a single receiver. It returns 0 if the subscription does not exist or is the only one.
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

// Close closes the subscription if it exists and makes later calls to Subscribe fail. Once Close
// has returned, no more frames are delivered, unless a call to Subscribe is in progress. In that
// case, no more frames are delivered once Subscribe has returned. Close may be called more than
// once.
func (s *LazySubscription) Close() {
	s.mu.Lock()
	s.closed = true
	subscription := s.subscription
	s.mu.Unlock()
	if subscription != nil {
		subscription.Close()
	}
}
