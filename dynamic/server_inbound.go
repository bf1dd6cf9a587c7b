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

// inbound holds the bus subscriptions of one method, on one topic if the method has topics, and
// passes their frames to the endpoint that serves the method at the moment.
//
// An inbound outlives its endpoint when [Registration.Replace] replaces the service: the endpoint
// of the new version takes the inbound over. If each version subscribed for itself, requests would
// be lost between the two subscriptions, or delivered to both versions while both exist.
type inbound struct {
	server   *Server
	isStream bool
	// channel is the channel of the requests, or of the frames of all streams of the method.
	channel        bus.Channel
	mode           bus.Mode
	grantChannel   bus.Channel
	frames, grants transport.LazySubscription
	// streams holds the streams of all endpoints that use this inbound.
	streams streamTable

	target atomic.Pointer[target]
	// endpoints counts the endpoints that have not been detached. The last one closes frames.
	endpoints atomic.Int32
	// grantsOpen counts the endpoints that may still receive grants. The last one closes grants.
	grantsOpen atomic.Int32
}

// target names the endpoint that receives the frames of an inbound: endpoint, or successor once
// switched is true. All inbounds of a service share one switched flag while Replace hands them
// over, so that all methods move to the new version at the same moment. It is nil at other times.
type target struct {
	endpoint, successor *endpoint
	switched            *atomic.Bool
}

// newInbound returns an inbound for e, without subscriptions.
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
	if i.isStream {
		// Streams are never queued: every frame of a stream must reach the server that has the
		// stream.
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

// addEndpoint counts an endpoint, for which detach and releaseGrants must be called.
func (i *inbound) addEndpoint() {
	i.endpoints.Add(1)
	i.grantsOpen.Add(1)
}

// subscribe makes the subscriptions that do not exist yet. If claims is true it subscribes to the
// grants first, so that no grant is missed when the first request arrives.
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

// current returns the endpoint that receives frames now.
func (i *inbound) current() *endpoint {
	t := i.target.Load()
	if t.switched != nil && t.switched.Load() {
		return t.successor
	}
	return t.endpoint
}

// acquire returns the current endpoint and a token of its inFlight counter, which must be returned
// with Leave. It returns nil if the endpoint is closed.
//
// The current endpoint may be replaced and closed after enter has read it. enter therefore tries
// again as long as the current endpoint changes.
func (i *inbound) acquire() (*endpoint, *lifecycle.Token) {
	var tried *endpoint
	for {
		e := i.current()
		if e == tried {
			return nil, nil
		}
		if token := e.inFlight.Enter(); token != nil {
			return e, token
		}
		tried = e
	}
}

// onRequest handles a frame of the request channel. The bus calls it; it never blocks.
func (i *inbound) onRequest(frame []byte) {
	if e, token := i.acquire(); e != nil && !startServerCall(e, frame, token) {
		e.inFlight.Leave(token)
	}
}

// onStream handles a frame of the stream channel. The bus calls it; it never blocks. A frame of an
// open stream goes to that stream, which may belong to a replaced version of the service; only
// opens go to the current endpoint.
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
	if e, token := i.acquire(); e != nil && !startStreamRequest(e, &parsed, token) {
		e.inFlight.Leave(token)
	}
}

// detach closes the streams of e, and closes the subscription to frames if no endpoint needs it any
// more. That is the case for calls if e is the current endpoint. The subscription of streams
// carries the frames of all endpoints, so it stays until the last one is detached.
func (i *inbound) detach(e *endpoint) {
	if !i.isStream && i.current() == e {
		i.frames.Close()
	}
	i.streams.close(e)
	e.detachOnce.Do(func() { i.endpoints.Add(-1) })
	if i.endpoints.Load() == 0 {
		i.frames.Close()
	}
}

// releaseGrants must be called once for each endpoint, when none of its requests waits for a grant.
func (i *inbound) releaseGrants() {
	if i.grantsOpen.Add(-1) == 0 {
		i.grants.Close()
	}
}
