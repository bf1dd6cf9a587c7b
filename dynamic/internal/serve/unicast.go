package serve

import (
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// unicastReceiver receives the frames that are sent to this server only, for example requests of
// clients and answers of other servers. There is one for each service of a server. All versions of
// the service share it, so that no request is lost or handled twice during [Service.Replace].
type unicastReceiver struct {
	// address identifies the unicast channel; see [wire.Presence.Address].
	address string
	// requests is the subscription to the unicast channel.
	requests transport.LazySubscription
	// peers holds the other servers of the service.
	peers peers
	// service is the current version of the service.
	service   atomic.Pointer[Service]
	namesakes transport.Namesakes
	// warnedOfID reports whether the server has warned of another server with its ID.
	warnedOfID atomic.Bool
	// reannouncing is the announcement that the server makes after its bus has reconnected.
	reannouncing reannouncing
}

func newUnicastReceiver(s *Service) *unicastReceiver {
	u := &unicastReceiver{
		address:  id.NewServer(),
		requests: transport.LazySubscription{ClosedErr: errors.ErrServerClosed},
		peers:    peers{announcements: transport.LazySubscription{ClosedErr: errors.ErrServerClosed}},

		namesakes: transport.Namesakes{Service: s.Descriptor, Logger: s.engine.Logger},
	}
	u.service.Store(s)
	return u
}

// channel returns the unicast channel.
func (u *unicastReceiver) channel() bus.Channel {
	return bus.Channel(wire.UnicastChannel(u.service.Load().Descriptor.WireName(), u.address))
}

// closeFor closes the subscriptions if s is the current version of the service.
func (u *unicastReceiver) closeFor(s *Service) {
	if u.service.Load() == s {
		u.reannouncing.close()
		u.requests.Close()
		u.peers.announcements.Close()
	}
}

// onFrame is the bus.Handler for the unicast channel. It never blocks.
func (u *unicastReceiver) onFrame(frame []byte) {
	s := u.service.Load()
	// If the frame is malformed, the envelope is empty, and decoding the request fails.
	envelope, _ := wire.ParseEnvelope(frame)
	switch envelope.Kind {
	case wire.KindDiscover:
		s.onDiscover(frame)
	case wire.KindPresence:
		u.onPeerAnswer(frame)
	case wire.KindClaimResponse:
		s.engine.onGrant(u.channel(), frame)
	default:
		s.onUnicastRequest(frame, envelope.RoutingKey)
	}
}

// onUnicastRequest handles a request that a client has sent to this server only. requests is the
// name of the channel on which the servers of the method receive all other requests. If this server
// does not receive requests on that channel, it declines the request at once, so that the client
// can send it elsewhere.
func (s *Service) onUnicastRequest(frame, requests []byte) {
	e := s.endpoint(requests)
	if e != nil && !e.suspended && e.plan.method.Kind() == registry.KindSingle && e.inbound.onRequest(frame, true) {
		return
	}
	if request, ok := s.decodeDeclined(s.unicast.channel(), frame); ok {
		s.decline(request, nil, 0)
	}
}
