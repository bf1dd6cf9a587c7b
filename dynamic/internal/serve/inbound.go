package serve

import (
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/stream"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// inbound holds the bus subscriptions of a method, or of one topic of a method. It passes received
// frames to the endpoint that currently serves the method. When [Service.Replace] replaces the
// service, the new endpoint takes over the inbound. Separate subscriptions of the two endpoints
// would lose requests if there were a gap between them, and handle requests twice if they
// overlapped.
type inbound struct {
	engine   *Engine
	isStream bool
	// channel is the bus channel on which requests arrive. For a stream method, all other frames of
	// its clients arrive on it, too.
	channel        bus.Channel
	mode           bus.Mode
	grantChannel   bus.Channel
	frames, grants transport.LazySubscription
	// streams holds the open streams of all endpoints that use this inbound.
	streams stream.Table

	target atomic.Pointer[target]
	// endpoints counts the endpoints that use the inbound and have not been detached. When it drops
	// to zero, the subscription in the field frames is closed.
	endpoints atomic.Int32
	// grantsOpen counts the endpoints that may still receive grants, in which clients name the
	// servers that they have selected. When it drops to zero, the subscription in the field grants
	// is closed.
	grantsOpen atomic.Int32
}

// target determines which endpoint receives the frames of an inbound: successor if the field
// switched points to true, and endpoint otherwise. While Replace transfers a service to a new
// version, the targets of all its inbounds share this flag, so that all methods move at the same
// moment. At other times, switched is nil.
type target struct {
	endpoint, successor *endpoint
	switched            *atomic.Bool
}

// newInbound returns an inbound for e that has no subscriptions yet.
func newInbound(e *endpoint) *inbound {
	method, engine := e.plan.method, e.plan.engine
	service := method.Service().WireName()
	i := &inbound{
		engine:       engine,
		isStream:     method.Kind() == registry.KindStream,
		grantChannel: bus.Channel(wire.ClaimResponseChannel(service, method.WireName(), e.topic)),
		frames:       transport.LazySubscription{ClosedErr: errors.ErrServerClosed},
		grants:       transport.LazySubscription{ClosedErr: errors.ErrServerClosed},
	}
	if i.isStream {
		// Streams never use queues, because every frame of a stream must reach the server that
		// serves the stream.
		i.channel = bus.Channel(wire.StreamServerChannel(service, method.WireName(), e.topic))
	} else {
		i.channel = bus.Channel(wire.RequestChannel(service, method.WireName(), e.topic, method.Queue()))
		if method.Queue() {
			i.mode = bus.Queue
		}
	}
	i.target.Store(&e.target)
	i.addEndpoint()
	return i
}

// addEndpoint counts an endpoint that uses the inbound. The methods detach and releaseGrants must
// later be called for this endpoint.
func (i *inbound) addEndpoint() {
	i.endpoints.Add(1)
	i.grantsOpen.Add(1)
}

// current returns the endpoint that currently receives the frames.
func (i *inbound) current() *endpoint {
	t := i.target.Load()
	if t.switched != nil && t.switched.Load() {
		return t.successor
	}
	return t.endpoint
}

// startDetach starts to close the subscription that detach will close; see [fanout.CloseStarter].
// It does nothing if the method has no queue, because such a method shares no subscription with
// others, or if e is not the current endpoint. e still receives frames until detach is called.
func (i *inbound) startDetach(e *endpoint) {
	if i.mode == bus.Queue && i.current() == e {
		i.frames.StartClose()
	}
}

// detach closes the streams of e. It also closes the subscription i.frames if no endpoint needs
// that subscription any more. For calls, this is the case if e is the current endpoint. For
// streams, the subscription receives the frames of all endpoints, so it is kept until the last
// endpoint has been detached.
func (i *inbound) detach(e *endpoint) {
	if !i.isStream && i.current() == e {
		i.frames.Close()
	}
	i.streams.Close(e)
	e.detachOnce.Do(func() { i.endpoints.Add(-1) })
	if i.endpoints.Load() == 0 {
		i.frames.Close()
	}
}

// releaseGrants closes the subscription to grants when no endpoint needs them any more. A grant is
// a frame in which a client names the server that it has selected. releaseGrants is called once for
// each endpoint, when that endpoint needs no more grants. If requests of the endpoint are still
// waiting for grants, these grants may be lost.
func (i *inbound) releaseGrants() {
	if i.grantsOpen.Add(-1) == 0 {
		i.grants.Close()
	}
}
