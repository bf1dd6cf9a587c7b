package dynamic

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
// the service share it, so that no request is lost or handled twice during [Registration.Replace].
type unicastReceiver struct {
	// address identifies the unicast channel; see [wire.Presence.Address].
	address string
	// requests is the subscription to the unicast channel.
	requests transport.LazySubscription
	// peers holds the other servers of the service.
	peers peers
	// registration is the current version of the service.
	registration atomic.Pointer[Registration]
	namesakes    namesakes
	// warnedOfID reports whether the server has warned of another server with its ID.
	warnedOfID atomic.Bool
}

func newUnicastReceiver(r *Registration) *unicastReceiver {
	u := &unicastReceiver{
		address:  id.NewServer(),
		requests: transport.LazySubscription{ClosedErr: errors.ErrServerClosed},
		peers:    peers{announcements: transport.LazySubscription{ClosedErr: errors.ErrServerClosed}},

		namesakes: namesakes{service: r.service, logger: r.server.options.logger},
	}
	u.registration.Store(r)
	return u
}

// channel returns the unicast channel.
func (u *unicastReceiver) channel() bus.Channel {
	return bus.Channel(wire.UnicastChannel(u.registration.Load().service.WireName(), u.address))
}

// closeFor closes the subscriptions if r is the current version of the service.
func (u *unicastReceiver) closeFor(r *Registration) {
	if u.registration.Load() == r {
		u.requests.Close()
		u.peers.announcements.Close()
	}
}

// onFrame is the bus.Handler for the unicast channel. It never blocks.
func (u *unicastReceiver) onFrame(frame []byte) {
	r := u.registration.Load()
	// If the frame is malformed, the envelope is empty, and decoding the request fails.
	envelope, _ := wire.ParseEnvelope(frame)
	switch envelope.Kind {
	case wire.KindDiscover:
		r.onDiscover(frame)
	case wire.KindPresence:
		u.onPeerAnswer(frame)
	case wire.KindClaimResponse:
		r.server.onGrant(u.channel(), frame)
	default:
		r.onUnicastRequest(frame, envelope.RoutingKey)
	}
}

// onUnicastRequest handles a request that a client has sent to this server only. requests is the
// name of the channel on which the servers of the method receive all other requests. If this server
// does not receive requests on that channel, it declines the request at once, so that the client
// can send it elsewhere.
func (r *Registration) onUnicastRequest(frame, requests []byte) {
	e := r.endpoint(requests)
	if e != nil && !e.suspended && e.plan.method.Kind() == registry.KindSingle && e.inbound.onRequest(frame, true) {
		return
	}
	if request, ok := r.decodeDeclined(r.unicast.channel(), frame); ok {
		r.decline(request, nil, 0)
	}
}
