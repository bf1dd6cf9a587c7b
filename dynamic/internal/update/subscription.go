package update

import (
	"cmp"
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Subscription delivers the updates of one method and topic to a channel. All methods are safe for
// concurrent use, except for Open.
type Subscription[Resp proto.Message] struct {
	delivery        delivery[Resp]
	busSubscription transport.LazySubscription
	// cancel ends delivery.context.
	cancel context.CancelFunc

	// ended is closed when the subscription has ended.
	ended chan struct{}
	// delivered reports whether all updates that had arrived were delivered before the subscription
	// ended. It is set before ended is closed.
	delivered bool

	mu     sync.Mutex
	closed bool
	err    error
	// cutDrain makes a running Drain end early. It is nil while no Drain is running.
	cutDrain context.CancelFunc
	// unwatch stops watching the context passed to Open. It is nil until endWithContext has been
	// called.
	unwatch func() bool
}

// New returns a subscription that is not open yet. config.Updates must be the type of Resp.
func New[Resp proto.Message](config Config) *Subscription[Resp] {
	capacity := MaxChannel
	if config.BufferSize > 0 {
		capacity = min(config.BufferSize, MaxChannel)
	}
	s := &Subscription[Resp]{
		busSubscription: transport.LazySubscription{ClosedErr: errors.ErrClientClosed},
		ended:           make(chan struct{}),
	}
	s.delivery = delivery[Resp]{
		config:   config,
		messages: make(chan Resp, capacity),
		backlog:  newBacklog(config.BufferSize, config.BufferBytes, capacity),
		inFlight: lifecycle.NewGate(),
		startEnd: s.startEnd,
	}
	return s
}

// Open subscribes to the channel of the bus. It returns when the bus has confirmed the
// subscription. If ctx ends before that, Open fails. If ctx ends later, the subscription ends with
// the error of ctx. If the bus fails, Open returns an error with [errors.CallFacts]. Open must be
// called once, and before any other method except Forward.
func (s *Subscription[Resp]) Open(ctx context.Context) error {
	config := &s.delivery.config
	s.delivery.context, s.cancel = context.WithCancel(ctx)
	mode := bus.Queue
	if config.Method.Routing() == registry.RoutingMulti {
		mode = bus.Broadcast
	}
	if err := s.busSubscription.Subscribe(ctx, config.Bus, config.Channel, mode, s.delivery.deliver); err != nil {
		s.cancel()
		return busError(config.Method, config.Topic, err)
	}
	// As soon as Track has been called, the conn may end the subscription at any time.
	if err := config.Track(); err != nil {
		s.End(err)
		return err
	}
	s.endWithContext(ctx)
	return nil
}

// endWithContext makes the subscription end when ctx ends.
func (s *Subscription[Resp]) endWithContext(ctx context.Context) {
	unwatch := context.AfterFunc(ctx, func() { s.End(errors.FromContext(ctx.Err())) })
	s.mu.Lock()
	s.unwatch = unwatch
	closed := s.closed
	s.mu.Unlock()
	if closed {
		unwatch()
	}
}

// Channel returns the channel that delivers updates. It is closed when the subscription has ended.
func (s *Subscription[Resp]) Channel() <-chan Resp { return s.delivery.messages }

// Forward puts an update into the channel, and waits while the channel is full. If the Go type of
// the update is not Resp, it is converted. Config.Handle calls Forward. It may also do so on other
// goroutines, and after the subscription has ended; Forward then returns [ErrEnded]. Any other
// error means that the update is not a message of the method's type.
func (s *Subscription[Resp]) Forward(update proto.Message) error { return s.delivery.forward(update) }

// Err returns nil while the subscription is active, and after a call to Close or Drain. If the
// subscription has ended for another reason, Err returns that reason.
func (s *Subscription[Resp]) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Stats returns the counters of the subscription.
func (s *Subscription[Resp]) Stats() Stats {
	d := &s.delivery
	return Stats{
		Received: d.received.Load(), Dropped: d.dropped.Load(), BadFrames: d.badFrames.Load(),
		Waiting: uint64(d.backlog.len() + len(d.messages)), //nolint:gosec // lengths are never negative
	}
}

// Close ends the subscription. When it returns nil, no more updates are put into the channel. If
// the subscription has not ended within Config.CloseTimeout, Close returns an error with code
// deadline_exceeded, and the subscription ends in the background.
func (s *Subscription[Resp]) Close() error {
	s.startEnd(nil)
	if lifecycle.WaitAtMost(s.delivery.config.CloseTimeout, s.ended) {
		return nil
	}
	return errors.NewErrorf(errors.DeadlineExceeded,
		"the subscription to %s has not ended: the bus or an interceptor is still busy", s.method())
}

// End ends the subscription with an error. When it returns, no more updates are put into the
// channel. Neither the bus callback nor Config.Handle may call End, because End waits for them.
func (s *Subscription[Resp]) End(err error) {
	s.startEnd(err)
	<-s.ended
}

// startEnd ends the subscription on a new goroutine, because it must not wait for a broker that
// does not answer. If Drain is running, startEnd makes it end early. If the subscription is already
// ending without Drain, startEnd does nothing.
func (s *Subscription[Resp]) startEnd(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.closed:
		s.closed, s.err = true, err
		go s.finish()
	case s.cutDrain != nil:
		s.err = err
		s.cutDrain()
		s.cutDrain = nil
	}
}

// Drain ends the delivery by the bus, waits until all updates that have arrived are in the channel,
// and ends the subscription. If ctx ends first, the subscription ends as after Close, and Drain
// returns an error that wraps ctx.Err(). If another function ends the subscription earlier, Drain
// returns an error only if updates were dropped.
func (s *Subscription[Resp]) Drain(ctx context.Context) error {
	s.startDrain(ctx)
	if err := lifecycle.WaitWithGrace(ctx, s.ended); err != nil {
		return s.drainError(err, "it has not ended")
	}
	if s.delivered {
		return nil
	}
	return s.drainError(cmp.Or(ctx.Err(), s.Err(), context.Canceled), "updates were dropped")
}

// startDrain starts to drain the subscription, unless it is already ending.
func (s *Subscription[Resp]) startDrain(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	ctx, s.cutDrain = context.WithCancel(ctx) //nolint:gosec // stopWatching calls it
	go func() {                               // Drain waits for the end of the subscription
		s.busSubscription.Close()
		select {
		case <-s.delivery.backlog.emptied():
		case <-ctx.Done():
		}
		s.finish()
	}()
}

func (s *Subscription[Resp]) drainError(cause error, problem string) error {
	return errors.NewErrorf(errors.FromContext(cause).Code(), "drain of the subscription to %s: %s: %w",
		s.method(), problem, cause)
}

// method returns the full name of the method.
func (s *Subscription[Resp]) method() string { return s.delivery.config.Method.FullName() }

// finish ends the subscription. The channel must not be closed while a goroutine sends on it.
// Therefore, busSubscription.Close waits for the bus callback, and inFlight.Close waits for all
// other senders.
func (s *Subscription[Resp]) finish() {
	d := &s.delivery
	s.busSubscription.Close()
	s.delivered = !d.backlog.lagging.Load()
	s.cancel()
	<-d.inFlight.Close()
	d.dropped.Add(d.backlog.clear())
	close(d.messages)
	d.config.Untrack()
	s.stopWatching()
	close(s.ended)
}

// stopWatching stops watching the context passed to Open, and releases the context of Drain.
func (s *Subscription[Resp]) stopWatching() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unwatch != nil {
		s.unwatch()
	}
	if s.cutDrain != nil {
		s.cutDrain()
		s.cutDrain = nil
	}
}
