package serve

import (
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

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
