package dynamic

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// endpoint serves one method, on one topic if it has topics, for one version of a service.
type endpoint struct {
	plan    *serverPlan
	topic   []string
	name    string    // of the request channel
	handle  serveFunc // of a method that is a call; through the interceptors
	inbound *inbound

	// inherited says that it is there because the version before had it. The registration's mu guards it.
	inherited bool

	inFlight lifecycle.InFlight // inside: requests and streams that are being handled
	closing  chan struct{}      // closed when no more are taken

	drainOnce, detachOnce, closeOnce sync.Once
}

// newEndpoint returns a listener with an intake of its own.
func newEndpoint(method *serverPlan, topic []string) *endpoint {
	e := &endpoint{
		plan:    method,
		topic:   slices.Clone(topic),
		name:    method.registration.endpointName(method.method, topic),
		closing: make(chan struct{}),
	}
	e.inbound = newInbound(e)
	e.handle = method.handler.intercepted(method.registration.interceptors.rpc, newRPCInfo(method.method, e.topic))
	return e
}

// subscribe makes the method reachable.
func (e *endpoint) subscribe(ctx context.Context) error {
	return e.inbound.subscribe(ctx, e.plan.method.RequireClaim())
}

// subscribers returns how many servers the bus counts as one receiver with this one, 0 if it is by itself or if no client
// waits until all have answered. It is so as of now: for a request ask when it comes.
func (e *endpoint) subscribers() uint32 {
	if e.plan.method.Queue() {
		return 0
	}
	return e.inbound.frames.Subscribers()
}

func (e *endpoint) isClosing() bool {
	select {
	case <-e.closing:
		return true
	default:
		return false
	}
}

// drain takes no more requests, and closes the streams.
func (e *endpoint) drain() {
	e.drainOnce.Do(func() { close(e.closing) })
	if e.inbound.isStream { // another server, or version, will claim it
		e.inFlight.Close()
	}
	e.inbound.detach(e)
}

// close stops, and is granted nothing any more.
func (e *endpoint) close() {
	e.drain()
	e.closeOnce.Do(e.inbound.releaseGrants)
}

// onRequest has a request served that has entered at a place. It never blocks, and reports false if there is nothing to serve.
func (e *endpoint) onRequest(frame []byte, token *lifecycle.Token) bool {
	r := e.plan.registration
	request, ok := transport.Decode(
		frame, wire.KindRequest, r.server.options.maxFrameSize, wire.ParseRequest, &r.server.stats.badFrames)
	if !ok {
		return false
	}
	c := &serverCall{
		endpoint: e, plan: e.plan, token: token, client: r.clients.get(request.ClientID),
		requestID: request.RequestID, body: request.Body.Raw, metadata: request.Metadata, sentAt: request.SentAt,
		acceptDirect: request.AcceptDirect, acceptDecline: request.AcceptDecline,
	}
	c.context.Info = c
	c.context.Parent = r.ctx
	now := time.Now()
	if !c.computeDeadline(now, request.Expiry) {
		r.server.stats.expired.Add(1)
		return false
	}
	needsGrant := c.needsGrant(request.SkipClaim)
	if !needsGrant && r.server.requestDedup.Seen(0, c.requestID, c.sentAt, now) {
		r.server.stats.duplicated.Add(1)
		return false
	}
	c.subscribers = e.subscribers()
	c.grant = r.trackRequest(c.requestID, &c.context, needsGrant)
	if !r.server.workers.Go(c) {
		c.deregister()
		return false
	}
	return true
}

// onOpen has a stream served that has entered at a place. It never blocks, and reports false if there is nothing to serve.
func (e *endpoint) onOpen(open *wire.Stream, token *lifecycle.Token) bool {
	r := e.plan.registration
	req := &streamRequest{endpoint: e, plan: e.plan, token: token, request: *open}
	req.context.Info = req
	req.context.Parent = r.ctx
	req.context.Expiry = time.Unix(0, open.Expiry)
	now := time.Now()
	if !now.Before(req.context.Expiry) {
		r.server.stats.expired.Add(1)
		return false
	}
	needsGrant := e.plan.method.RequireClaim()
	if !needsGrant && r.server.requestDedup.Seen(0, req.request.RequestID, req.request.SentAt, now) {
		r.server.stats.duplicated.Add(1)
		return false
	}
	req.subscribers = e.subscribers()
	req.grant = r.trackRequest(req.request.RequestID, &req.context, needsGrant)
	if !r.server.workers.Go(req) {
		req.deregister()
		return false
	}
	return true
}

// reuseInbound prepares a listener to take over the intake of another one, if that is on the same channel. Should it come to
// nothing, grants that only this one needs are still heard, which does no harm.
func (e *endpoint) reuseInbound(predecessor *endpoint) {
	if predecessor != nil && predecessor.inbound.channel == e.inbound.channel && predecessor.inbound.mode == e.inbound.mode {
		e.inbound = predecessor.inbound
		e.inbound.addEndpoint()
	}
}
