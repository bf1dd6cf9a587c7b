package dynamic

import (
	"context"
	"log/slog"
	"slices"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// replySubscriptions holds a conn's subscriptions to the claims, responses and stream frames of one
// service. They are created at the first use of the service and kept until the conn is closed,
// because subscribing for each call would cost a round trip. All methods share them, because the
// channel names contain only the service and the client.
type replySubscriptions struct {
	bus       bus.Bus
	callbacks replyCallbacks
	wireName  string
	clientID  string
	claims    transport.LazySubscription
	responses transport.LazySubscription
	// streams is the subscription to stream frames. It is not used if the service has no streams.
	streams transport.LazySubscription
	// cancels records whether the broker denies the conn's cancellations for the service.
	cancels cancelReport
	// presence keeps track of the servers of the service. It is nil if no method needs this; see
	// [transport.Traits.Announces].
	presence *connPresence

	// opening is a lock that a goroutine holds while it subscribes. It is a channel of capacity
	// one. Unlike with a mutex, a goroutine can stop waiting for the lock when its context ends.
	opening chan struct{}
}

// replyCallbacks receives the frames of replySubscriptions and the channels on which they have
// arrived. Its methods never block.
type replyCallbacks interface {
	onClaim(channel bus.Channel, frame []byte)
	onResponse(channel bus.Channel, frame []byte)
	onStream(channel bus.Channel, frame []byte)
}

func newReplySubscriptions(b bus.Bus, callbacks replyCallbacks, wireName, clientID string, logger *slog.Logger) *replySubscriptions {
	return &replySubscriptions{
		cancels:   cancelReport{service: wireName, logger: logger},
		bus:       b,
		callbacks: callbacks,
		wireName:  wireName,
		clientID:  clientID,
		opening:   make(chan struct{}, 1),
		claims:    transport.LazySubscription{ClosedErr: errors.ErrClientClosed},
		responses: transport.LazySubscription{ClosedErr: errors.ErrClientClosed},
		streams:   transport.LazySubscription{ClosedErr: errors.ErrClientClosed},
	}
}

// subscribe subscribes to the channels that are not subscribed yet, and returns when the bus has
// confirmed the subscriptions. It subscribes to the stream channel only if the argument streams is
// true. After an error, subscribe may be called again.
func (s *replySubscriptions) subscribe(ctx context.Context, streams bool) error {
	claims := bus.Channel(wire.ClaimRequestChannel(s.wireName, s.clientID))
	responses := bus.Channel(wire.ResponseChannel(s.wireName, s.clientID))
	frames := bus.Channel(wire.StreamClientChannel(s.wireName, s.clientID))
	select {
	case s.opening <- struct{}{}:
		defer func() { <-s.opening }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.claims.Subscribe(ctx, s.bus, claims, bus.Broadcast, deliverTo(claims, s.callbacks.onClaim)); err != nil {
		return err
	}
	if s.presence != nil {
		if err := s.presence.subscribe(ctx); err != nil {
			return err
		}
	}
	err := s.responses.Subscribe(ctx, s.bus, responses, bus.Broadcast, deliverTo(responses, s.callbacks.onResponse))
	if err != nil || !streams {
		return err
	}
	return s.streams.Subscribe(ctx, s.bus, frames, bus.Broadcast, deliverTo(frames, s.callbacks.onStream))
}

// deliverTo returns a handler that passes the frames of a channel to callback.
func deliverTo(channel bus.Channel, callback func(channel bus.Channel, frame []byte)) bus.Handler {
	return func(frame []byte) { callback(channel, frame) }
}

// hasStreams reports whether any method of the service is a stream.
func hasStreams(s *registry.Service) bool {
	return slices.ContainsFunc(s.Methods(), func(m *registry.Method) bool { return m.Kind() == registry.KindStream })
}

// close closes the subscriptions. When close has returned, no callbacks are running, and none will
// be called.
func (s *replySubscriptions) close() {
	s.claims.Close()
	if s.presence != nil {
		s.presence.close()
	}
	s.responses.Close()
	s.streams.Close()
}
