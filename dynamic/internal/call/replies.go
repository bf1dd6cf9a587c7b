package call

import (
	"context"
	"slices"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// replySubscriptions holds an engine's subscriptions to the claims, responses and stream frames of
// one service. They are kept until the engine is closed, because subscribing for each call would
// cost a round trip. All methods share them, because the channel names contain only the service and
// the client.
type replySubscriptions struct {
	core      *core
	handler   replyHandler
	wireName  string
	claims    transport.LazySubscription
	responses transport.LazySubscription
	// streams is the subscription to stream frames. It is not used if the service has no streams.
	streams transport.LazySubscription
	// cancels records whether the broker denies cancellations for the service.
	cancels cancelReport
	// presence keeps track of the servers of the service. It is nil if no method needs this; see
	// [transport.Traits.Announces].
	presence *presence

	// opening is a lock that a goroutine holds while it subscribes. It is a channel of capacity
	// one, not a mutex, so that a goroutine can stop waiting when its context ends.
	opening chan struct{}
}

// replyHandler handles the frames of replySubscriptions. Its methods return the handlers for the
// frames of a channel. These handlers never block.
type replyHandler interface {
	onClaim(channel bus.Channel) bus.Handler
	onResponse(channel bus.Channel) bus.Handler
	onStream(channel bus.Channel) bus.Handler
}

func newReplySubscriptions(c *core, handler replyHandler, s *registry.Service) *replySubscriptions {
	replies := &replySubscriptions{
		cancels:   cancelReport{service: s.WireName(), logger: c.config.Logger},
		core:      c,
		handler:   handler,
		wireName:  s.WireName(),
		opening:   make(chan struct{}, 1),
		claims:    transport.LazySubscription{ClosedErr: errors.ErrClientClosed},
		responses: transport.LazySubscription{ClosedErr: errors.ErrClientClosed},
		streams:   transport.LazySubscription{ClosedErr: errors.ErrClientClosed},
	}
	if slices.ContainsFunc(s.Methods(), c.traits.Announces) {
		replies.presence = newPresence(c, s)
	}
	return replies
}

// subscribe subscribes to the channels that are not subscribed yet, and returns when the bus has
// confirmed the subscriptions. It subscribes to the stream channel only if the argument streams is
// true. After an error, subscribe may be called again. If no subscription is missing, subscribe
// succeeds even if ctx has ended, so that the call itself reports the end of ctx.
func (s *replySubscriptions) subscribe(ctx context.Context, streams bool) error {
	clientID := s.core.config.ClientID
	claims := bus.Channel(wire.ClaimRequestChannel(s.wireName, clientID))
	responses := bus.Channel(wire.ResponseChannel(s.wireName, clientID))
	frames := bus.Channel(wire.StreamClientChannel(s.wireName, clientID))
	select {
	case s.opening <- struct{}{}:
	default:
		select {
		case s.opening <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() { <-s.opening }()
	if err := s.claims.Subscribe(ctx, s.core.bus, claims, bus.Broadcast, s.handler.onClaim(claims)); err != nil {
		return err
	}
	if s.presence != nil {
		if err := s.presence.subscribe(ctx); err != nil {
			return err
		}
	}
	err := s.responses.Subscribe(ctx, s.core.bus, responses, bus.Broadcast, s.handler.onResponse(responses))
	if err != nil || !streams {
		return err
	}
	return s.streams.Subscribe(ctx, s.core.bus, frames, bus.Broadcast, s.handler.onStream(frames))
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
