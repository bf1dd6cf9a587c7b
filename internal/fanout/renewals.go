package fanout

import (
	"maps"
	"sync"
)

// RenewalNotifier is implemented by the subscriptions of buses that renew their subscriptions after
// they have lost the connection to the broker.
type RenewalNotifier interface {
	// NotifyRenewed makes the bus call handler each time it has reconnected and the broker has
	// confirmed the subscription again. Frames that were published in the meantime are lost. A bus
	// with several connections may also call handler when it has renewed another connection.
	// handler must not block. The bus does not call it after the subscription has been closed. A
	// further call to NotifyRenewed replaces handler.
	NotifyRenewed(handler func())
}

// Renewals contains the functions that a bus calls after it has reconnected; see [RenewalNotifier].
// The zero value contains none. All methods are safe for concurrent use.
type Renewals struct {
	mu       sync.Mutex
	handlers map[*Subscriber]func()
}

// Set makes Run call handler until subscriber is removed or closed.
func (r *Renewals) Set(subscriber *Subscriber, handler func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.handlers == nil {
		r.handlers = map[*Subscriber]func(){}
	}
	r.handlers[subscriber] = handler
}

// Remove removes the function of a subscriber, if it has one. Remove does not wait for a running
// call of the function. Closing the subscriber does.
func (r *Renewals) Remove(subscriber *Subscriber) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.handlers, subscriber)
}

// Run calls the functions of all subscribers that are not closed, one after the other.
func (r *Renewals) Run() {
	r.mu.Lock()
	handlers := maps.Clone(r.handlers)
	r.mu.Unlock()
	for subscriber, handler := range handlers {
		subscriber.renewed(handler)
	}
}

// renewed calls handler, unless the subscriber is closed.
func (s *Subscriber) renewed(handler func()) {
	token := s.inFlight.Enter()
	if token == nil {
		return
	}
	defer s.inFlight.Leave(token)
	handler()
}
