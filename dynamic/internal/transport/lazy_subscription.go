package transport

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// LazySubscription is a subscription that is created when it is first needed, at most once, and
// that may be closed before, while or after it is created. The zero value is ready to use, except
// that ClosedErr should be set.
//
// Subscribe may block until a broker answers, so no lock is held meanwhile, and Close does not wait
// for it: a Subscribe that finds the LazySubscription closed when the broker has answered closes
// the new subscription itself.
type LazySubscription struct {
	// ClosedErr is the error of Subscribe after Close. It must be set before the first use.
	ClosedErr error

	mu           sync.Mutex
	closed       bool
	subscription bus.Subscription // nil before Subscribe has succeeded
}

// Subscribe subscribes to channel. It does nothing if there is a subscription already, so it can be
// called again after an error. It returns the error of the bus, or ClosedErr if Close is called
// before it returns. ctx bounds the wait for the bus, not the lifetime of the subscription.
//
// Only one goroutine at a time may call Subscribe. The other methods may be called concurrently.
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

// Subscribers returns the number of subscriptions that the bus counts as one receiver, including
// this one, if there are several. It returns zero if the bus counts this subscription alone, or if
// there is no subscription.
func (s *LazySubscription) Subscribers() uint32 {
	s.mu.Lock()
	multiplexed, ok := s.subscription.(bus.Multiplexed)
	s.mu.Unlock()
	if !ok {
		return 0
	}
	if subscribers := multiplexed.Subscribers(); subscribers > 1 {
		return uint32(subscribers) //nolint:gosec // as many as fit into memory
	}
	return 0
}

// Close closes the subscription, if there is one, and makes later calls of Subscribe fail. When it
// returns nothing is delivered any more, unless a Subscribe is running: in that case nothing is
// delivered after that Subscribe has returned. Close may be called several times.
func (s *LazySubscription) Close() {
	s.mu.Lock()
	s.closed = true
	subscription := s.subscription
	s.mu.Unlock()
	if subscription != nil {
		subscription.Close()
	}
}
