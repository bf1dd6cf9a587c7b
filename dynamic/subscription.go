package dynamic

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Subscription delivers the updates of a method. All methods may be called concurrently.
type Subscription[Resp proto.Message] interface {
	// Channel returns the channel on which updates arrive. It is closed when the subscription has
	// ended.
	Channel() <-chan Resp
	// Close ends the subscription. After Close has returned no update arrives; those that are in
	// the channel can still be read. Close always returns nil.
	Close() error
	// Err returns the reason why the subscription ended: errors.ErrClientClosed if the conn was
	// closed, bus.ErrClosed if the bus was closed, the error of the context given to Subscribe,
	// errors.ErrSlowConsumer after an overflow with [EndSubscription], or an error with the code
	// internal after a panic of an interceptor. It is nil while the subscription is active, and
	// after Close.
	Err() error
	// Stats returns the counters of the subscription.
	Stats() SubscriptionStats
}

// SubscriptionStats counts updates. A received update that is in none of the other counts was
// delivered or is about to be.
type SubscriptionStats struct {
	// Received counts updates that arrived from the bus.
	Received uint64
	// Dropped counts updates that were dropped because the buffer was full, and those that were
	// still unread in the backlog when the subscription ended.
	Dropped uint64
	// BadFrames counts frames that could not be decoded or held a message of another type.
	BadFrames uint64
	// Refused counts updates for which an interceptor returned an error.
	Refused uint64
	// Waiting is the number of updates that have arrived and were not read yet.
	Waiting uint64
}

// subscription is a Subscription. Updates take one of two paths into the user's channel. As long as
// the reader keeps up and there are no interceptors, the bus callback puts them there itself.
// Otherwise they go through the backlog, and a goroutine drains it: the bus callback must not wait,
// because its goroutine serves the other subscriptions, too.
type subscription[Resp proto.Message] struct {
	plan     *clientPlan
	overflow OverflowPolicy
	messages chan Resp
	backlog  backlog
	// handler passes updates through the interceptors. It is nil without interceptors.
	handler         DeliveryHandler
	busSubscription transport.LazySubscription
	context         context.Context //nolint:containedctx // it has the lifetime of the subscription
	cancel          context.CancelFunc
	// inFlight counts the goroutines, other than the bus callback, that may send on messages. The
	// channel is closed when none is left.
	inFlight *lifecycle.Gate

	received, dropped, badFrames, refused atomic.Uint64
	// slowConsumer is set when an overflow has ended the subscription.
	slowConsumer atomic.Bool

	endOnce sync.Once
	mu      sync.Mutex
	closed  bool
	err     error
	// unwatch stops watching the context of Subscribe. It is nil until endWithContext was called.
	unwatch func() bool
}

func subscribe[Resp proto.Message](
	ctx context.Context, p *clientPlan, bound *route, o *requestOptions,
) (Subscription[Resp], error) {
	if err := p.check(registry.KindSubscription); err != nil {
		return nil, err
	}
	route, err := p.route(bound, o)
	if err != nil {
		return nil, err
	}
	s := &subscription[Resp]{
		plan:            p,
		overflow:        o.overflow,
		messages:        make(chan Resp, maxChannel),
		backlog:         backlog{limit: o.bufferSize},
		busSubscription: transport.LazySubscription{ClosedErr: errors.ErrClientClosed},
		inFlight:        lifecycle.NewGate(),
	}
	if o.bufferSize > 0 {
		s.messages = make(chan Resp, min(o.bufferSize, maxChannel))
	}
	if err := s.buildHandler(route.topic); err != nil {
		return nil, err
	}
	s.context, s.cancel = context.WithCancel(ctx)
	mode := bus.Queue
	if p.method.Routing() == registry.RoutingMulti {
		mode = bus.Broadcast
	}
	if err := s.busSubscription.Subscribe(ctx, p.conn.bus, route.requests, mode, s.deliver); err != nil {
		s.cancel()
		failure, reason := transport.ClassifyError(err)
		return nil, errors.WithFacts(failure, errors.CallFacts{
			Method: p.method.FullName(), Topic: route.topic, Phase: errors.PhasePublish, Reason: reason,
		})
	}
	if err := p.conn.track(s); err != nil { // After track the conn may end the subscription.
		s.end(err)
		return nil, err
	}
	s.endWithContext(ctx)
	return s, nil
}

// endWithContext ends the subscription when ctx ends.
func (s *subscription[Resp]) endWithContext(ctx context.Context) {
	unwatch := context.AfterFunc(ctx, func() { s.end(errors.FromContext(ctx.Err())) })
	s.mu.Lock()
	s.unwatch = unwatch
	closed := s.closed
	s.mu.Unlock()
	if closed {
		unwatch()
	}
}

// Channel returns the channel on which updates arrive.
func (s *subscription[Resp]) Channel() <-chan Resp { return s.messages }

// Close ends the subscription.
func (s *subscription[Resp]) Close() error {
	s.end(nil)
	return nil
}

// Err returns the reason why the subscription ended.
func (s *subscription[Resp]) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Stats returns the counters of the subscription.
func (s *subscription[Resp]) Stats() SubscriptionStats {
	return SubscriptionStats{
		Received: s.received.Load(), Dropped: s.dropped.Load(), BadFrames: s.badFrames.Load(), Refused: s.refused.Load(),
		Waiting: uint64(s.backlog.len() + len(s.messages)), //nolint:gosec // not negative
	}
}

// end ends the subscription and returns when no update is delivered any more. The channel may be
// closed only then: busSubscription.Close waits for the bus callback, and inFlight for the other
// senders.
func (s *subscription[Resp]) end(err error) {
	s.endOnce.Do(func() {
		s.mu.Lock()
		s.closed, s.err = true, err
		unwatch := s.unwatch
		s.mu.Unlock()
		if unwatch != nil {
			unwatch()
		}
		s.busSubscription.Close()
		s.cancel()
		<-s.inFlight.Close()
		s.dropped.Add(uint64(s.backlog.len())) //nolint:gosec // not negative
		close(s.messages)
		s.plan.conn.untrack(s)
	})
}

// endAsync ends the subscription from a goroutine for which end waits.
func (s *subscription[Resp]) endAsync(err error) {
	// goTracked fails only if the conn is closing, which ends the subscription as well.
	_ = s.plan.conn.goTracked(func() { s.end(err) })
}

// deliver handles a frame from the bus. It never blocks: if the update cannot be put into the
// channel at once, the frame is put into the backlog.
func (s *subscription[Resp]) deliver(frame []byte) {
	s.received.Add(1)
	if s.handler == nil && !s.backlog.lagging.Load() {
		if update, ok := s.decode(frame); !ok || s.trySend(update.message) {
			return
		}
	}
	s.enqueue(frame)
}

// receivedUpdate is a decoded update with its metadata.
type receivedUpdate[Resp proto.Message] struct {
	message  Resp
	metadata map[string]string
}

// requestInfo implements requestInfoProvider.
func (u receivedUpdate[Resp]) requestInfo() RequestInfo { return RequestInfo{Metadata: u.metadata} }

// decode decodes a frame. It counts frames that cannot be decoded, and returns false for them.
func (s *subscription[Resp]) decode(frame []byte) (update receivedUpdate[Resp], ok bool) {
	message, metadata, ok := s.plan.decodeUpdate(frame)
	if !ok {
		s.badFrames.Add(1)
		return update, false
	}
	return receivedUpdate[Resp]{message.(Resp), metadata}, true
}

// buildHandler sets handler if the conn has subscription interceptors.
func (s *subscription[Resp]) buildHandler(topic []string) (err error) {
	interceptors := s.plan.conn.options.interceptors.subscription
	if len(interceptors) == 0 {
		return nil
	}
	s.handler, err = chain(interceptors, newRPCInfo(s.plan.method, topic),
		func(_ context.Context, update proto.Message) error { return s.sendIntercepted(update) })
	return err
}

// enqueue adds a frame to the backlog and starts a goroutine that drains it unless one is running.
// If the buffer is full it applies the overflow policy. It never blocks.
func (s *subscription[Resp]) enqueue(frame []byte) {
	b := &s.backlog
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.fullLocked(len(frame), len(s.messages)) {
		s.dropped.Add(1)
		if s.overflow != DropOldest {
			if s.overflow == EndSubscription && !s.slowConsumer.Swap(true) {
				s.endAsync(errors.ErrSlowConsumer) // end would wait for this callback.
			}
			return
		}
		s.dropOldestLocked()
	}
	b.pushLocked(frame)
	if b.lagging.Load() || !s.inFlight.Enter() {
		return
	}
	b.lagging.Store(true)
	if s.plan.conn.goTracked(s.drain) != nil { // The conn is closed and ends the subscription, too.
		s.inFlight.Leave()
	}
}

// dropOldestLocked drops the oldest update that the limit counts. With a limit in updates this is
// the first one in the channel, or in the backlog if the channel is empty. With a limit in bytes,
// which does not count the channel, it is the first one in the backlog.
func (s *subscription[Resp]) dropOldestLocked() {
	if s.backlog.limit > 0 {
		select {
		case <-s.messages:
			return
		default:
		}
	}
	s.backlog.popLocked()
}

// drain delivers the frames of the backlog until it is empty or the subscription ends.
// Subscription.Close waits for it through inFlight, and Conn.Close because the conn tracks the
// goroutine.
func (s *subscription[Resp]) drain() {
	defer s.inFlight.Leave()
	for s.context.Err() == nil {
		frame, ok := s.backlog.pop()
		if !ok {
			return
		}
		if update, ok := s.decode(frame); ok && !s.deliverDecoded(update) {
			return
		}
	}
}

// deliverDecoded passes an update through the interceptors, if there are any, into the channel. It
// returns false if the subscription has ended, or ends because an interceptor panicked.
func (s *subscription[Resp]) deliverDecoded(update receivedUpdate[Resp]) bool {
	if s.handler == nil {
		return s.sendBlocking(update.message)
	}
	ctx := context.WithValue(s.context, lazyctx.InfoKey{}, update)
	panicked := s.plan.conn.panics().guard(ctx, s.plan.method, func() error {
		if err := s.handler(ctx, update.message); err != nil {
			s.refused.Add(1)
		}
		return nil
	})
	if panicked != nil {
		s.endAsync(panicked)
	}
	return panicked == nil
}

// sendBlocking puts an update into the channel, and waits while the channel is full. It returns
// false if the subscription ends first; the update is counted as dropped then.
func (s *subscription[Resp]) sendBlocking(message Resp) bool {
	if s.trySend(message) {
		return true
	}
	select {
	case s.messages <- message:
		return true
	case <-s.context.Done():
		s.dropped.Add(1)
		return false
	}
}

// trySend puts an update into the channel. It returns false if the channel is full.
func (s *subscription[Resp]) trySend(message Resp) bool {
	select {
	case s.messages <- message:
		return true
	default:
		return false
	}
}

// sendIntercepted puts an update into the channel for the innermost interceptor. Interceptors may
// call it from any goroutine, also when the subscription has ended.
func (s *subscription[Resp]) sendIntercepted(update proto.Message) error {
	if !s.inFlight.Enter() {
		return s.endedError()
	}
	defer s.inFlight.Leave()
	update, err := s.plan.responses.Convert(update)
	if err != nil {
		return wrongMessage("update", s.plan.method, err)
	}
	if !s.sendBlocking(update.(Resp)) {
		return s.endedError()
	}
	return nil
}

func (s *subscription[Resp]) endedError() error {
	return errors.NewErrorf(errors.Canceled, "subscription to %s has ended", s.plan.method.FullName())
}
