package dynamic

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// OverflowPolicy says what happens to an update for which a subscription's buffer has no room.
type OverflowPolicy uint8

const (
	// DropOldest makes room by dropping the update that has waited longest. It is the default.
	DropOldest OverflowPolicy = iota
	// DropNewest drops the update that came.
	DropNewest
	// EndSubscription ends the subscription with errors.ErrSlowConsumer.
	EndSubscription
)

// Subscription delivers the updates of a method. Its methods may be called from many goroutines.
type Subscription[Resp proto.Message] interface {
	// Channel returns where updates come. It is closed when the subscription has ended.
	Channel() <-chan Resp
	// Close ends the subscription and returns when no update will come any more. It always returns nil.
	Close() error
	// Err says why the subscription ended: errors.ErrClientClosed if the conn was closed, bus.ErrClosed, the error
	// of the context given to Subscribe, or errors.ErrSlowConsumer. It is nil before, and after Close.
	Err() error
	// Stats returns what the subscription has counted so far.
	Stats() SubscriptionStats
}

// SubscriptionStats counts updates. What was received and is in none of the other counts was, or will be, delivered.
type SubscriptionStats struct {
	// Received updates came from the bus.
	Received uint64
	// Dropped updates found no room, were dropped to make some, or still waited when the subscription ended.
	Dropped uint64
	// BadFrames could not be decoded, or held another message.
	BadFrames uint64
	// Refused updates are those for which an interceptor returned an error.
	Refused uint64
	// Waiting updates are those that have not been read yet, at this moment.
	Waiting uint64
}

type subscription[Resp proto.Message] struct {
	plan            *clientPlan
	overflow        OverflowPolicy
	messages        chan Resp
	backlog         backlog
	handler         DeliveryHandler // brings updates through the interceptors; nil without
	busSubscription transport.LazySubscription
	context         context.Context //nolint:containedctx // the life of the subscription
	cancel          context.CancelFunc
	inFlight        *lifecycle.Gate // inside: whoever may put an update into messages, but for deliver

	received, dropped, badFrames, refused atomic.Uint64
	slowConsumer                          atomic.Bool

	endOnce sync.Once
	mu      sync.Mutex
	closed  bool
	err     error
	unwatch func() bool // stops watching the context; nil if that was never watched
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
	if err := p.conn.track(s); err != nil { // from now on the conn may end it
		s.end(err)
		return nil, err
	}
	s.endWithContext(ctx)
	return s, nil
}

// endWithContext ends the subscription with ctx.
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

// Channel returns where updates come.
func (s *subscription[Resp]) Channel() <-chan Resp { return s.messages }

// Close ends the subscription.
func (s *subscription[Resp]) Close() error {
	s.end(nil)
	return nil
}

// Err says why the subscription ended.
func (s *subscription[Resp]) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Stats returns what the subscription has counted so far.
func (s *subscription[Resp]) Stats() SubscriptionStats {
	return SubscriptionStats{
		Received: s.received.Load(), Dropped: s.dropped.Load(), BadFrames: s.badFrames.Load(), Refused: s.refused.Load(),
		Waiting: uint64(s.backlog.len() + len(s.messages)), //nolint:gosec // not negative
	}
}

// end returns when nothing will be delivered any more. The slot makes sure of that before the channel is closed.
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

// endAsync ends the subscription from a goroutine for which its end waits.
func (s *subscription[Resp]) endAsync(err error) {
	_ = s.plan.conn.goTracked(func() { s.end(err) }) // a conn that closes does it, too
}

// deliver takes a frame from the bus; it never blocks. A subscriber that keeps up gets it at once.
func (s *subscription[Resp]) deliver(frame []byte) {
	s.received.Add(1)
	if s.handler == nil && !s.backlog.lagging.Load() {
		if update, ok := s.decode(frame); !ok || s.trySend(update.message) {
			return
		}
	}
	s.enqueue(frame)
}

// receivedUpdate is an update that has come.
type receivedUpdate[Resp proto.Message] struct {
	message  Resp
	metadata map[string]string
}

// requestInfo returns what an interceptor can ask for.
func (u receivedUpdate[Resp]) requestInfo() RequestInfo { return RequestInfo{Metadata: u.metadata} }

// decode counts frames that it cannot decode.
func (s *subscription[Resp]) decode(frame []byte) (update receivedUpdate[Resp], ok bool) {
	message, metadata, ok := s.plan.decodeUpdate(frame)
	if !ok {
		s.badFrames.Add(1)
		return update, false
	}
	return receivedUpdate[Resp]{message.(Resp), metadata}, true
}

// buildHandler makes the subscription's handler, if there are interceptors.
func (s *subscription[Resp]) buildHandler(topic []string) (err error) {
	interceptors := s.plan.conn.options.interceptors.subscription
	if len(interceptors) == 0 {
		return nil
	}
	s.handler, err = chain(interceptors, newRPCInfo(s.plan.method, topic),
		func(_ context.Context, update proto.Message) error { return s.sendIntercepted(update) })
	return err
}
