package dynamic

import (
	"cmp"
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

// SubscriptionStats contains the counters of a subscription. If an update is counted in Received
// but in no other field, it has been read, has been withheld by an interceptor, or is about to be
// put into the channel.
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

// subscription implements Subscription. The bus callback puts updates directly into the user's
// channel while the reader keeps up, no large update has arrived, and there are no interceptors.
// Otherwise, it adds them to the backlog, from which another goroutine takes them. The callback
// must not block, because its goroutine also serves other subscriptions.
type subscription[Resp proto.Message] struct {
	plan     *clientPlan
	overflow OverflowPolicy
	messages chan Resp
	backlog  *backlog
	// handler passes updates through the interceptors. It is nil if there are no interceptors.
	handler         DeliveryHandler
	busSubscription transport.LazySubscription
	context         context.Context //nolint:containedctx // it has the lifetime of the subscription
	cancel          context.CancelFunc
	// inFlight counts the goroutines that may send on the user's channel, except for bus callbacks,
	// for which busSubscription.Close waits. The channel is closed only after all of them have
	// finished.
	inFlight *lifecycle.Gate

	received, dropped, badFrames, refused atomic.Uint64
	// intercepted is the size in bytes of the update that was last passed to the interceptors.
	// sendIntercepted uses this size even if an interceptor has replaced the message.
	intercepted atomic.Int64
	// slowConsumer is set when an overflow ends the subscription.
	slowConsumer atomic.Bool

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
	// unwatch stops watching the context passed to Subscribe. It is nil until endWithContext has
	// been called.
	unwatch func() bool
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
	s := &subscription[Resp]{
		plan:            p,
		overflow:        o.overflow,
		busSubscription: transport.LazySubscription{ClosedErr: errors.ErrClientClosed},
		inFlight:        lifecycle.NewGate(),
		ended:           make(chan struct{}),
	}
	capacity := maxChannel
	if o.bufferSize > 0 {
		capacity = min(o.bufferSize, maxChannel)
	}
	s.messages, s.backlog = make(chan Resp, capacity), newBacklog(o.bufferSize, o.bufferBytes, capacity)
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
	// As soon as track has been called, the conn may end the subscription at any time.
	if err := p.conn.track(s); err != nil {
		s.end(err)
		return nil, err
	}
	s.endWithContext(ctx)
	return s, nil
}

// endWithContext makes the subscription end when ctx ends.
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

// Channel returns the channel that delivers updates.
func (s *subscription[Resp]) Channel() <-chan Resp { return s.messages }

// Close ends the subscription.
func (s *subscription[Resp]) Close() error {
	s.startEnd(nil)
	if waitAtMost(s.plan.conn.closeTimeout(), s.ended) {
		return nil
	}
	return errors.NewErrorf(errors.DeadlineExceeded,
		"the subscription to %s has not ended: the bus or an interceptor is still busy", s.plan.method.FullName())
}

// Err returns the reason why the subscription ended; see [Subscription].
func (s *subscription[Resp]) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Stats returns the counters of the subscription.
func (s *subscription[Resp]) Stats() SubscriptionStats {
	return SubscriptionStats{
		Received: s.received.Load(), Dropped: s.dropped.Load(), BadFrames: s.badFrames.Load(), Refused: s.refused.Load(),
		Waiting: uint64(s.backlog.len() + len(s.messages)), //nolint:gosec // lengths are never negative
	}
}

// end ends the subscription. When it returns, no more updates are being delivered. Neither the bus
// callback nor a goroutine counted by inFlight may call end, because end waits for them.
func (s *subscription[Resp]) end(err error) {
	s.startEnd(err)
	<-s.ended
}

// startEnd ends the subscription on a new goroutine, because it must not wait for a broker that
// does not answer. If Drain is running, startEnd makes it end early. If the subscription is already
// ending for another reason, startEnd does nothing.
func (s *subscription[Resp]) startEnd(err error) {
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

// Drain implements Subscription.
func (s *subscription[Resp]) Drain(ctx context.Context) error {
	if ctx == nil {
		return nilContextError(s.plan.method.FullName())
	}
	s.startDrain(ctx)
	if err := waitWithGrace(ctx, s.ended); err != nil {
		return s.drainError(err, "it has not ended")
	}
	if s.delivered {
		return nil
	}
	return s.drainError(cmp.Or(ctx.Err(), s.Err(), context.Canceled), "updates were dropped")
}

// startDrain starts to drain the subscription, unless it is already ending.
func (s *subscription[Resp]) startDrain(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	ctx, s.cutDrain = context.WithCancel(ctx) //nolint:gosec // stopWatching calls it
	go func() {
		s.busSubscription.Close()
		select {
		case <-s.backlog.emptied():
		case <-ctx.Done():
		}
		s.finish()
	}()
}

func (s *subscription[Resp]) drainError(cause error, problem string) error {
	return errors.NewErrorf(errors.FromContext(cause).Code(), "drain of the subscription to %s: %s: %w",
		s.plan.method.FullName(), problem, cause)
}

// finish ends the subscription. The channel must not be closed while anyone sends to it. Therefore,
// busSubscription.Close waits for the bus callback, and inFlight.Close waits for all other senders.
func (s *subscription[Resp]) finish() {
	s.busSubscription.Close()
	s.delivered = !s.backlog.lagging.Load()
	s.cancel()
	<-s.inFlight.Close()
	s.dropped.Add(s.backlog.clear())
	close(s.messages)
	s.plan.conn.untrack(s)
	s.stopWatching()
	close(s.ended)
}

// stopWatching stops watching the context passed to Subscribe, and releases the context of Drain.
func (s *subscription[Resp]) stopWatching() {
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

// deliver handles a frame from the bus. It never blocks: if the update cannot be put into the
// channel immediately, the frame is added to the backlog.
func (s *subscription[Resp]) deliver(frame []byte) {
	s.received.Add(1)
	s.backlog.observe(len(frame))
	if s.handler == nil && !s.backlog.lagging.Load() && !s.backlog.counting.Load() {
		if update, ok := s.decode(frame); !ok || s.trySend(update.message) {
			return
		}
	}
	if s.enqueue(frame) {
		s.logDropped(dropOverflowed, nil)
	}
}

// receivedUpdate is a decoded update together with its metadata.
type receivedUpdate[Resp proto.Message] struct {
	message  Resp
	metadata map[string]string
	// size is the size of the encoded message in bytes, after decompression.
	size int
}

// requestInfo implements requestInfoProvider.
func (u receivedUpdate[Resp]) requestInfo() RequestInfo { return RequestInfo{Metadata: u.metadata} }

// decode decodes a frame. If the frame cannot be decoded, decode counts it and returns false.
func (s *subscription[Resp]) decode(frame []byte) (update receivedUpdate[Resp], ok bool) {
	message, metadata, size, err := s.plan.decodeUpdate(frame)
	if err != nil {
		s.badFrames.Add(1)
		s.logDropped(dropBadFrame, err)
		return update, false
	}
	s.backlog.observe(size)
	return receivedUpdate[Resp]{message.(Resp), metadata, size}, true
}

// logDropped logs that an update is dropped. All subscriptions of the conn share the limit on log
// lines.
func (s *subscription[Resp]) logDropped(reason dropReason, err error) {
	s.plan.conn.drops.log(reason, droppedFrame{method: s.plan.method, err: err})
}

// buildHandler sets the field handler if the conn has subscription interceptors.
func (s *subscription[Resp]) buildHandler(topic []string) (err error) {
	interceptors := s.plan.conn.options.interceptors.subscription
	if len(interceptors) == 0 {
		return nil
	}
	s.handler, err = chain(interceptors, newRPCInfo(s.plan.method, topic),
		func(_ context.Context, update proto.Message) error { return s.sendIntercepted(update) })
	return err
}

// enqueue adds a frame to the backlog. It starts a goroutine that delivers the backlog, unless
// there is already one. If the backlog is full, enqueue applies the overflow policy and returns
// true. It never blocks.
func (s *subscription[Resp]) enqueue(frame []byte) (overflowed bool) {
	b := s.backlog
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.fullLocked(len(frame), len(s.messages)) {
		overflowed = true
		if !s.overflowLocked() {
			return true
		}
	}
	b.pushLocked(frame)
	if b.lagging.Load() || !s.inFlight.Enter() {
		return overflowed
	}
	b.lagging.Store(true)
	// If goTracked fails, the conn is closing and will end the subscription.
	if s.plan.conn.goTracked(s.deliverBacklog) != nil {
		s.inFlight.Leave()
	}
	return overflowed
}

// slowReaderError is the reason why a subscription with [EndSubscription] ends. It wraps
// errors.ErrSlowConsumer, but has a text of its own, because the text of ErrSlowConsumer is about
// streams. That text cannot be changed, because psrpc peers know it.
type slowReaderError struct{ method string }

func (e slowReaderError) Error() string {
	return "the subscription to " + e.method + " has ended: its reader was too slow and its buffer was full"
}

func (slowReaderError) Unwrap() error { return errors.ErrSlowConsumer }

// overflowLocked applies the overflow policy once. It returns false if the new update is the one
// that is dropped.
func (s *subscription[Resp]) overflowLocked() bool {
	if s.overflow == DropOldest {
		if s.dropOldestLocked() {
			s.dropped.Add(1)
		}
		return true
	}
	s.dropped.Add(1)
	if s.overflow == EndSubscription && !s.slowConsumer.Swap(true) {
		s.startEnd(errors.NewError(errors.Unavailable, slowReaderError{s.plan.method.FullName()}))
	}
	return false
}

// dropOldestLocked drops the oldest unread update that counts towards the limits. If the channel is
// empty, or if the updates in it do not count, that is the first update in the backlog.
// dropOldestLocked returns false if there is no update to drop, because the user has just emptied
// the channel.
func (s *subscription[Resp]) dropOldestLocked() bool {
	if s.backlog.limit > 0 || s.backlog.sent.Len() > 0 {
		select {
		case <-s.messages:
			return true
		default:
		}
	}
	_, dropped := s.backlog.popLocked()
	return dropped
}

// makeRoom makes room in the channel for an update that has become larger than its frame when it
// was decompressed. It returns false if the update is dropped.
func (s *subscription[Resp]) makeRoom(size int) bool {
	b, overflowed, room := s.backlog, false, true
	b.mu.Lock()
	for room && b.exceedsLocked(size, len(s.messages)) {
		overflowed, room = true, s.overflowLocked()
	}
	b.mu.Unlock()
	if overflowed {
		s.logDropped(dropOverflowed, nil)
	}
	return room
}

// deliverBacklog delivers the frames in the backlog until the backlog is empty or the subscription
// ends. Subscription.Close and Conn.Close wait until deliverBacklog has returned, because both
// s.inFlight and the conn count its goroutine.
func (s *subscription[Resp]) deliverBacklog() {
	defer s.inFlight.Leave()
	for s.context.Err() == nil {
		frame, ok := s.backlog.pop()
		if !ok {
			return
		}
		update, ok := s.decode(frame)
		if !ok || update.size > len(frame) && !s.makeRoom(update.size) {
			continue
		}
		if !s.deliverDecoded(update) {
			return
		}
	}
}

// deliverDecoded passes an update through the interceptors, if there are any, and into the channel.
// It returns false if the subscription has ended, or if an interceptor has panicked and the
// subscription is about to end.
func (s *subscription[Resp]) deliverDecoded(update receivedUpdate[Resp]) bool {
	if s.handler == nil {
		return s.sendBlocking(update.message, update.size)
	}
	s.intercepted.Store(int64(update.size))
	ctx := context.WithValue(s.context, lazyctx.InfoKey{}, update)
	panicked := s.plan.conn.panics().guard(ctx, s.plan.method, func() error {
		if err := s.handler(ctx, update.message); err != nil {
			s.refused.Add(1)
			s.logDropped(dropIntercepted, err)
		}
		return nil
	})
	if panicked != nil {
		s.startEnd(panicked)
	}
	return panicked == nil
}

// sendBlocking puts an update into the channel. It waits while the channel is full. If the
// subscription ends first, it counts the update as dropped and returns false.
func (s *subscription[Resp]) sendBlocking(message Resp, size int) bool {
	if !s.trySend(message) {
		select {
		case s.messages <- message:
		case <-s.context.Done():
			s.dropped.Add(1)
			return false
		}
	}
	s.backlog.recordSent(size)
	return true
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

// sendIntercepted puts an update into the channel. It is called by the interceptors, possibly from
// other goroutines and even after the subscription has ended.
func (s *subscription[Resp]) sendIntercepted(update proto.Message) error {
	if !s.inFlight.Enter() {
		return s.endedError()
	}
	defer s.inFlight.Leave()
	update, err := s.plan.responses.Convert(update)
	if err != nil {
		return wrongMessage("update", s.plan.method, err)
	}
	// An interceptor may have replaced the message. Its size is not computed again, because that
	// would take time. The size of the original message is used instead.
	if !s.sendBlocking(update.(Resp), int(s.intercepted.Load())) {
		return s.endedError()
	}
	return nil
}

func (s *subscription[Resp]) endedError() error {
	return errors.NewErrorf(errors.Canceled, "subscription to %s has ended", s.plan.method.FullName())
}
