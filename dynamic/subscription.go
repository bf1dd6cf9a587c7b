package dynamic

import (
	"context"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// DefaultBufferSize is how many updates wait for a subscriber that is not reading, unless told otherwise.
const DefaultBufferSize = 100

// Overflow says what happens to an update for which a subscription's buffer has no room.
type Overflow uint8

const (
	// DropOldest makes room by dropping the update that has waited longest. It is the default.
	DropOldest Overflow = iota
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

// SubscriptionStats counts updates.
type SubscriptionStats struct {
	// Received updates were put into the buffer.
	Received uint64
	// Dropped updates found the buffer full, or were dropped from it.
	Dropped uint64
	// BadFrames could not be decoded, or held another message.
	BadFrames uint64
	// Refused updates are those for which an interceptor returned an error.
	Refused uint64
}

type subscription[Resp proto.Message] struct {
	method   *clientMethod
	overflow Overflow
	messages chan Resp
	slot     subscriptionSlot

	interception *interception[Resp] // nil without interceptors

	received, dropped, badFrames, refused atomic.Uint64
	overflowed                            atomic.Bool

	ending sync.Once
	mu     sync.Mutex
	ended  bool
	err    error
	leave  func() bool // stops watching the context; nil if that was never watched
}

// Subscribe joins the subscribers of the method: with MULTI routing each of them gets every update, otherwise one
// of them does. When it returns, the bus has confirmed that updates will arrive. ctx governs the life of the
// subscription, and bounds the wait for the bus.
//
// A subscriber that does not read loses updates (see [WithOverflow]) and holds up nobody.
func (c *Client[Req, Resp]) Subscribe(ctx context.Context, opts ...RequestOption) (Subscription[Resp], error) {
	if c.err != nil {
		return nil, c.err
	}
	o := newRequestOptions(opts)
	return subscribe[Resp](ctx, c.method, c.bound, &o)
}

func subscribe[Resp proto.Message](
	ctx context.Context, m *clientMethod, bound *route, o *requestOptions,
) (Subscription[Resp], error) {
	if err := m.check(registry.KindSubscription); err != nil {
		return nil, err
	}
	route, err := m.route(bound, o)
	if err != nil {
		return nil, err
	}
	size := o.bufferSize
	if size == 0 {
		size = DefaultBufferSize
	}
	s := &subscription[Resp]{
		method:   m,
		overflow: o.overflow,
		messages: make(chan Resp, size),
		slot:     subscriptionSlot{whenClosed: errors.ErrClientClosed},
	}
	join := bus.Queue
	if m.method.Routing() == registry.RoutingMulti {
		join = bus.Plain
	}
	if err := s.intercept(ctx, route.topic); err != nil {
		return nil, err
	}
	if err := s.slot.subscribe(ctx, m.conn.bus, route.requests, join, s.deliver); err != nil {
		s.interception.end()
		failure, reason := publishFailure(err)
		return nil, errors.WithFacts(failure, errors.CallFacts{
			Method: m.method.FullName(), Topic: route.topic, Phase: errors.PhasePublish, Reason: reason,
		})
	}
	if err := m.conn.join(s); err != nil { // from now on the conn may end it
		s.end(err)
		return nil, err
	}
	s.watch(ctx)
	return s, nil
}

// watch ends the subscription with ctx.
func (s *subscription[Resp]) watch(ctx context.Context) {
	leave := context.AfterFunc(ctx, func() { s.end(errors.FromContext(ctx.Err())) })
	s.mu.Lock()
	s.leave = leave
	ended := s.ended
	s.mu.Unlock()
	if ended {
		leave()
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
	}
}

// end returns when nothing will be delivered any more. The slot makes sure of that before the channel is closed.
func (s *subscription[Resp]) end(err error) {
	s.ending.Do(func() {
		s.mu.Lock()
		s.ended, s.err = true, err
		leave := s.leave
		s.mu.Unlock()
		if leave != nil {
			leave()
		}
		s.slot.close()
		s.interception.end()
		close(s.messages)
		s.method.conn.leave(s)
	})
}

// deliver takes a frame from the bus; it never blocks.
func (s *subscription[Resp]) deliver(frame []byte) {
	update, ok := s.decode(frame)
	if !ok {
		s.badFrames.Add(1)
		return
	}
	if s.interception != nil {
		offer(s, s.interception.queue, update)
	} else if offer(s, s.messages, update.message) {
		s.received.Add(1)
	}
}

// offer puts an update into the buffer, or into what waits for the interceptors; it never blocks.
func offer[Resp proto.Message, T any](s *subscription[Resp], buffer chan T, item T) bool {
	for {
		select {
		case buffer <- item:
			return true
		default:
		}
		if s.overflow != DropOldest {
			break
		}
		select {
		case <-buffer:
			s.dropped.Add(1)
		default: // the subscriber has just made room
		}
	}
	s.dropped.Add(1)
	if s.overflow == EndSubscription && !s.overflowed.Swap(true) {
		s.endLater(errors.ErrSlowConsumer) // end waits for deliveries
	}
	return false
}

func (s *subscription[Resp]) decode(frame []byte) (update incomingUpdate[Resp], ok bool) {
	envelope, err := wire.ParseEnvelope(frame)
	if err != nil || string(envelope.TypeName) != string(s.method.responses.name) {
		return update, false
	}
	decoded, err := parseValue(envelope.Value, s.method.responses.decode, s.method.conn.options.maxFrameSize)
	if err != nil {
		return update, false
	}
	return incomingUpdate[Resp]{decoded.(Resp), envelope.Metadata}, true
}
