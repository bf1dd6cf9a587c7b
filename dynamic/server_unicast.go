package dynamic

import (
	"context"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// unicastReceiver receives the requests that clients send to one server only. There is one for each
// service of a server. All versions of the service share it, so that no request is lost or handled
// twice during [Registration.Replace].
type unicastReceiver struct {
	// address identifies the unicast channel; see [wire.Presence.Address].
	address      string
	subscription transport.LazySubscription
	// registration is the current version of the service.
	registration atomic.Pointer[Registration]
}

func newUnicastReceiver(r *Registration) *unicastReceiver {
	u := &unicastReceiver{
		address: id.NewServer(), subscription: transport.LazySubscription{ClosedErr: errors.ErrServerClosed},
	}
	u.registration.Store(r)
	return u
}

// closeFor closes the subscription if r is the current version of the service.
func (u *unicastReceiver) closeFor(r *Registration) {
	if u.registration.Load() == r {
		u.subscription.Close()
	}
}

// subscribeUnicast subscribes to the unicast channel, unless a previous version of the service has
// already done so. If the broker does not permit the subscription, subscribeUnicast logs a warning
// and returns nil.
func (r *Registration) subscribeUnicast(ctx context.Context) error {
	channel := bus.Channel(wire.UnicastChannel(r.service.WireName(), r.unicast.address))
	return r.subscribeIfPermitted(ctx, &r.unicast.subscription, channel, r.unicast.onFrame,
		"the broker does not permit to subscribe to a channel of this server alone: the more servers a queue has, the more "+
			"a queue call costs")
}

// onFrame is the bus.Handler for the unicast channel. It never blocks.
func (u *unicastReceiver) onFrame(frame []byte) {
	r := u.registration.Load()
	// If the frame is malformed, the envelope is empty, and decoding the request fails.
	envelope, _ := wire.ParseEnvelope(frame)
	if envelope.Kind == wire.KindDiscover {
		r.onDiscover(frame)
	} else {
		r.onUnicastRequest(frame, envelope.RoutingKey)
	}
}

// onUnicastRequest handles a request that would otherwise have been sent to the channel requests. If
// the server does not receive requests on that channel, it declines the request at once, so that the
// client can send it elsewhere.
func (r *Registration) onUnicastRequest(frame, requests []byte) {
	e := r.endpoint(requests)
	if e != nil && e.plan.method.Kind() == registry.KindSingle && e.inbound.onRequest(frame) {
		return
	}
	channel := bus.Channel(wire.UnicastChannel(r.service.WireName(), r.unicast.address))
	if request, ok := r.decodeDeclined(channel, frame); ok {
		r.decline(request, nil, 0)
	}
}
