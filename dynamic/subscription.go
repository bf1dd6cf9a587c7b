package dynamic

import (
	"context"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/update"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Subscription delivers the updates of a method. All methods are safe for concurrent use.
type Subscription[Resp proto.Message] interface {
	// Channel returns the channel that delivers updates. The channel is closed when the
	// subscription has ended.
	Channel() <-chan Resp
	// Close ends the subscription. No updates arrive after Close has returned nil, but those
	// already in the channel can still be read.
	//
	// If the broker does not answer, or an interceptor does not return, Close returns an error with
	// code deadline_exceeded. It does so after 3 seconds, or after the timeout of the conn if that
	// is longer. The subscription then ends in the background, and the channel is closed later.
	Close() error
	// Drain ends the subscription without losing an update. First, it ends the delivery by the bus.
	// Then it puts all updates that have already arrived into the channel, and closes the channel.
	// On a queue, later updates go to the other subscribers. The channel must be read while Drain
	// is running, because it has room for at most 1,024 updates (see [WithBufferSize]).
	//
	// If ctx ends first, the subscription ends as after Close, and Drain returns an error with code
	// deadline_exceeded or canceled, which wraps ctx.Err(). A running Drain also ends early if
	// Close is called, or if the conn or the context passed to Subscribe ends. In these cases,
	// Drain returns an error only if updates were dropped.
	Drain(ctx context.Context) error
	// Err returns nil while the subscription is active and after a call to Close or Drain. If the
	// subscription has ended for another reason, Err returns that reason:
	//   - errors.ErrClientClosed if the conn was closed,
	//   - bus.ErrClosed if the bus was closed,
	//   - the error of the context passed to Subscribe if that context ended,
	//   - an error that wraps errors.ErrSlowConsumer if the buffer overflowed with
	//     [EndSubscription] set,
	//   - an error with code [errors.Internal] if an interceptor panicked.
	Err() error
	// Stats returns the counters of the subscription.
	Stats() SubscriptionStats
}

// SubscriptionStats contains the counters of a subscription. An update that is counted only in
// Received has been read, was withheld by an interceptor, or is about to be put into the channel.
type SubscriptionStats struct {
	// Received is the number of updates that have arrived from the bus.
	Received uint64
	// Dropped is the number of updates that were dropped because the buffer was full. It includes
	// updates that were still waiting for room in the channel when the subscription ended.
	Dropped uint64
	// BadFrames is the number of frames that could not be decoded or that contained a message of
	// the wrong type.
	BadFrames uint64
	// Refused is the number of updates for which an interceptor returned an error.
	Refused uint64
	// Waiting is the number of updates that have arrived but have not been read yet.
	Waiting uint64
}

const (
	// DefaultBacklogBytes is the maximum total size, in bytes, of the updates that a subscription
	// keeps for a slow reader. It does not apply if [WithBufferSize] limits the number of updates
	// or [WithBufferBytes] sets another total size. Subscriptions of nats.go have the same limit by
	// default.
	DefaultBacklogBytes = 64 << 20
)

// subscription implements Subscription. It passes the updates of an [update.Subscription] through
// the interceptors of the conn.
type subscription[Resp proto.Message] struct {
	plan    *clientPlan
	updates *update.Subscription[Resp]
	// handler passes updates through the interceptors. It is nil if there are no interceptors.
	handler DeliveryHandler
	// refused counts the updates for which an interceptor has returned an error.
	refused atomic.Uint64
}

func subscribe[Resp proto.Message](
	ctx context.Context, p *clientPlan, bound *route, o *requestOptions,
) (Subscription[Resp], error) {
	if err := p.check(ctx, registry.KindSubscription); err != nil {
		return nil, err
	}
	route, err := p.route(bound, o)
	if err != nil {
		return nil, err
	}
	s := &subscription[Resp]{plan: p}
	// The field updates is set first, because the interceptors may call forward as soon as
	// buildHandler calls them.
	s.updates = update.New[Resp](s.config(route, o))
	if err := s.buildHandler(route.Topic); err != nil {
		return nil, err
	}
	if err := s.updates.Open(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// buildHandler sets the field handler if the conn has subscription interceptors.
func (s *subscription[Resp]) buildHandler(topic []string) (err error) {
	interceptors := s.plan.options.interceptors.subscription
	if len(interceptors) == 0 {
		return nil
	}
	s.handler, err = chain(interceptors, newRPCInfo(s.plan.method, topic),
		func(_ context.Context, update proto.Message) error { return s.forward(update) })
	return err
}

// config returns the configuration of the field updates.
func (s *subscription[Resp]) config(r *route, o *requestOptions) update.Config {
	engine, options := s.plan.engine, s.plan.options
	config := update.Config{
		Bus: engine.Bus(), Method: s.plan.method, Topic: r.Topic, Channel: r.Requests,
		Updates: &s.plan.responses, Limits: options.decompression(),
		BufferSize: o.bufferSize, BufferBytes: o.bufferBytes, Overflow: o.overflow,
		CloseTimeout: engine.CloseTimeout(), Drops: engine.Drops(), Go: engine.Go,
		Track:   func() error { return engine.Track(s.updates) },
		Untrack: func() { engine.Untrack(s.updates) },
	}
	if o.bufferSize == 0 && o.bufferBytes == 0 {
		config.BufferBytes = DefaultBacklogBytes
	}
	if len(options.interceptors.subscription) > 0 {
		config.Handle = s.handle
	}
	return config
}

// Channel returns the channel that delivers updates.
func (s *subscription[Resp]) Channel() <-chan Resp { return s.updates.Channel() }

// Close ends the subscription.
func (s *subscription[Resp]) Close() error { return s.updates.Close() }

// Drain implements Subscription.
func (s *subscription[Resp]) Drain(ctx context.Context) error {
	if ctx == nil {
		return nilContextError(s.plan.method.FullName())
	}
	return s.updates.Drain(ctx)
}

// Err returns the reason why the subscription ended; see [Subscription].
func (s *subscription[Resp]) Err() error { return s.updates.Err() }

// Stats returns the counters of the subscription.
func (s *subscription[Resp]) Stats() SubscriptionStats {
	stats := s.updates.Stats()
	return SubscriptionStats{
		Received: stats.Received, Dropped: stats.Dropped, BadFrames: stats.BadFrames, Refused: s.refused.Load(),
		Waiting: stats.Waiting,
	}
}

// updateInfo is the value of [lazyctx.InfoKey] in the context of an update.
type updateInfo struct{ metadata map[string]string }

// RequestInfo implements transport.InfoProvider.
func (u updateInfo) RequestInfo() transport.RequestInfo {
	return transport.RequestInfo{Metadata: u.metadata}
}

// handle passes an update through the interceptors. It returns an error, which ends the
// subscription, only if an interceptor has panicked.
func (s *subscription[Resp]) handle(ctx context.Context, received update.Update) error {
	ctx = context.WithValue(ctx, lazyctx.InfoKey{}, updateInfo{received.Metadata})
	return s.plan.options.panics().guard(ctx, s.plan.method, func() error {
		if err := s.handler(ctx, received.Message); err != nil {
			s.refused.Add(1)
			s.plan.engine.Drops().Log(transport.DropIntercepted, transport.DroppedFrame{Method: s.plan.method, Err: err})
		}
		return nil
	})
}

// forward puts an update into the channel. It is called by the interceptors, possibly on goroutines
// of their own and even after the subscription has ended.
func (s *subscription[Resp]) forward(message proto.Message) error {
	switch err := s.updates.Forward(message); {
	case err == nil:
		return nil
	case errors.Is(err, update.ErrEnded):
		return errors.NewErrorf(errors.Canceled, "subscription to %s has ended", s.plan.method.FullName())
	default:
		return wrongMessage("update", s.plan.method, err)
	}
}
