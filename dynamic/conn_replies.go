package dynamic

import (
	"context"
	"slices"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// replySubscriptions is a conn's subscriptions for one service: the channels of a client are those of a service, not of
// a method. It listens from the first use until the conn is closed.
type replySubscriptions struct {
	conn              *Conn
	wireName          string
	claims, responses transport.LazySubscription
	streams           transport.LazySubscription // empty for a service without streams

	opening chan struct{} // room for whoever subscribes; a second user waits for the result
}

func newReplySubscriptions(c *Conn, wireName string) *replySubscriptions {
	return &replySubscriptions{
		conn:      c,
		wireName:  wireName,
		opening:   make(chan struct{}, 1),
		claims:    transport.LazySubscription{ClosedErr: errors.ErrClientClosed},
		responses: transport.LazySubscription{ClosedErr: errors.ErrClientClosed},
		streams:   transport.LazySubscription{ClosedErr: errors.ErrClientClosed},
	}
}

// subscribe makes sure that the service's answers arrive. It can be tried again after an error.
func (s *replySubscriptions) subscribe(ctx context.Context, streams bool) error {
	select {
	case s.opening <- struct{}{}:
		defer func() { <-s.opening }()
	case <-ctx.Done():
		return ctx.Err()
	}
	id := s.conn.options.id
	claims := bus.Channel(wire.ClaimRequestChannel(s.wireName, id))
	if err := s.claims.Subscribe(ctx, s.conn.bus, claims, bus.Broadcast, s.conn.onClaim); err != nil {
		return err
	}
	responses := bus.Channel(wire.ResponseChannel(s.wireName, id))
	if err := s.responses.Subscribe(ctx, s.conn.bus, responses, bus.Broadcast, s.conn.onResponse); err != nil || !streams {
		return err
	}
	frames := bus.Channel(wire.StreamClientChannel(s.wireName, id))
	return s.streams.Subscribe(ctx, s.conn.bus, frames, bus.Broadcast, s.conn.onStream)
}

// hasStreams tells whether a service has a method that is a stream.
func hasStreams(s *registry.Service) bool {
	return slices.ContainsFunc(s.Methods(), func(m *registry.Method) bool { return m.Kind() == registry.KindStream })
}

// close returns when nothing more will be delivered.
func (s *replySubscriptions) close() {
	s.claims.Close()
	s.responses.Close()
	s.streams.Close()
}
