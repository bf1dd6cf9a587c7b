package dynamic

import (
	"context"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// inbound is what a served method hears of the bus, on one topic if it has topics. It brings that to the listener which
// serves the method at the time. A listener that replaces another takes its intake over: so nothing is missed, and
// nothing comes twice.
type inbound struct {
	server         *Server
	isStream       bool
	channel        bus.Channel // of requests, or of the frames of streams
	mode           bus.Mode
	grantChannel   bus.Channel
	frames, grants transport.LazySubscription
	streams        streamTable // of all its listeners

	target     atomic.Pointer[target]
	endpoints  atomic.Int32 // listeners that have not stopped
	grantsOpen atomic.Int32 // listeners that may still be granted something
}

// target is where the frames of an intake go: to listener, or, once they have been handed over, to next.
type target struct {
	endpoint, successor *endpoint
	switched            *atomic.Bool // for all intakes of a service at once; nil unless that is under way
}

// newInbound returns an intake of which l is the listener.
func newInbound(e *endpoint) *inbound {
	method, server := e.plan.method, e.plan.server
	service := method.Service().WireName()
	i := &inbound{
		server:       server,
		isStream:     method.Kind() == registry.KindStream,
		grantChannel: bus.Channel(wire.ClaimResponseChannel(service, method.WireName(), e.topic)),
		frames:       transport.LazySubscription{ClosedErr: errors.ErrServerClosed},
		grants:       transport.LazySubscription{ClosedErr: errors.ErrServerClosed},
		streams:      streamTable{counters: &server.stats.streams},
	}
	if i.isStream { // which no queue distributes
		i.channel = bus.Channel(wire.StreamServerChannel(service, method.WireName(), e.topic))
	} else {
		i.channel = bus.Channel(wire.RequestChannel(service, method.WireName(), e.topic, method.Queue()))
		if method.Queue() {
			i.mode = bus.Queue
		}
	}
	i.target.Store(&target{endpoint: e})
	i.addEndpoint()
	return i
}

// addEndpoint counts a listener, which must stop and release.
func (i *inbound) addEndpoint() {
	i.endpoints.Add(1)
	i.grantsOpen.Add(1)
}

// subscribe subscribes to what is not subscribed yet. The grants come first, so that the first request can already be claimed.
func (i *inbound) subscribe(ctx context.Context, claims bool) error {
	if claims {
		if err := i.grants.Subscribe(ctx, i.server.bus, i.grantChannel, bus.Broadcast, i.server.onGrant); err != nil {
			return err
		}
	}
	deliver := i.onRequest
	if i.isStream {
		deliver = i.onStream
	}
	return i.frames.Subscribe(ctx, i.server.bus, i.channel, i.mode, deliver)
}

// current returns the listener to which frames go now.
func (i *inbound) current() *endpoint {
	d := i.target.Load()
	if d.switched != nil && d.switched.Load() {
		return d.successor
	}
	return d.endpoint
}

// enter returns the listener that takes what has come, and the place in its gate that must be left when that was
// served; nil if it is too late.
func (i *inbound) enter() (*endpoint, *lifecycle.Token) {
	var tried *endpoint
	for {
		e := i.current()
		if e == tried { // no other one has its place
			return nil, nil
		}
		if token := e.inFlight.Enter(); token != nil {
			return e, token
		}
		tried = e
	}
}

// onRequest takes a frame from the bus; it never blocks.
func (i *inbound) onRequest(frame []byte) {
	if e, token := i.enter(); e != nil && !e.onRequest(frame, token) {
		e.inFlight.Leave(token)
	}
}

// onStream takes a frame from the bus; it never blocks.
func (i *inbound) onStream(frame []byte) {
	parsed, ok := transport.Decode(
		frame, wire.KindStream, i.server.options.maxFrameSize, wire.ParseStream, &i.server.stats.badFrames)
	if !ok {
		return
	}
	if parsed.Op != wire.StreamOpen {
		i.streams.dispatch(&parsed)
		return
	}
	if e, token := i.enter(); e != nil && !e.onOpen(&parsed, token) {
		e.inFlight.Leave(token)
	}
}

// detach takes no more requests for a listener, unless another one has its place, and closes its streams.
func (i *inbound) detach(e *endpoint) {
	if !i.isStream && i.current() == e {
		i.frames.Close()
	}
	i.streams.close(e)
	e.detachOnce.Do(func() { i.endpoints.Add(-1) })
	if i.endpoints.Load() == 0 { // until then others may have streams
		i.frames.Close()
	}
}

// releaseGrants is for a listener that is granted nothing any more.
func (i *inbound) releaseGrants() {
	if i.grantsOpen.Add(-1) == 0 {
		i.grants.Close()
	}
}
