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

// endpoint serves one method, on one topic if the method has topics, for one version of a service.
// The bus subscriptions belong to its inbound, which may outlive it, see [Registration.Replace].
type endpoint struct {
	plan  *serverPlan
	topic []string
	// name is the name of the request channel and the key of the endpoint in its registration.
	name string
	// handle runs the interceptors and the handler of a call. Streams do not use it.
	handle  serveFunc
	inbound *inbound

	// inherited is true if Replace created the endpoint because the previous version served the
	// topic, and RegisterTopic has not been called for it yet. The registration's mu guards it.
	inherited bool

	// inFlight counts the requests and streams that are being handled.
	inFlight lifecycle.InFlight
	// closing is closed when the endpoint stops accepting requests and streams.
	closing chan struct{}

	drainOnce, detachOnce, closeOnce sync.Once
}

// newEndpoint returns an endpoint with an inbound of its own, without subscriptions.
func newEndpoint(plan *serverPlan, topic []string) *endpoint {
	e := &endpoint{
		plan:    plan,
		topic:   slices.Clone(topic),
		name:    plan.registration.endpointName(plan.method, topic),
		closing: make(chan struct{}),
	}
	e.inbound = newInbound(e)
	e.handle = plan.handler.intercepted(plan.registration.interceptors.rpc, newRPCInfo(plan.method, e.topic))
	return e
}

// subscribe subscribes to the channels of the method. When it returns nil the method can be called.
func (e *endpoint) subscribe(ctx context.Context) error {
	return e.inbound.subscribe(ctx, e.plan.method.RequireClaim())
}

// subscribers returns how many servers of this process share one bus subscription, and thus count
// as one receiver, for this method. It returns 0 if this server is alone, and for queue methods,
// whose clients do not wait for all servers. The number changes as servers come and go, so it is
// taken when a request arrives.
func (e *endpoint) subscribers() uint32 {
	if e.plan.method.Queue() {
		return 0
	}
	return e.inbound.frames.Subscribers()
}

// isClosing reports whether drain was called.
func (e *endpoint) isClosing() bool {
	select {
	case <-e.closing:
		return true
	default:
		return false
	}
}

// drain stops accepting requests and closes the streams. Requests that are being handled continue.
func (e *endpoint) drain() {
	e.drainOnce.Do(func() { close(e.closing) })
	if e.inbound.isStream {
		// The subscription stays as long as there are streams, so new opens are rejected here.
		// Another server or version claims them.
		e.inFlight.Close()
	}
	e.inbound.detach(e)
}

// close calls drain and stops listening for grants. Requests that still wait for one are not
// granted.
func (e *endpoint) close() {
	e.drain()
	e.closeOnce.Do(e.inbound.releaseGrants)
}

// onRequest decodes a request and starts a worker for it. token counts the request in e.inFlight.
// If onRequest returns false, there is nothing to handle and the caller must return the token;
// otherwise the worker returns it. onRequest never blocks.
//
// A request that needs no grant runs at once, so onRequest drops a second delivery of it. A request
// with claims needs no such check: its client grants it once.
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

// onOpen starts a worker for a stream open. It treats token and returns as onRequest does, and
// never blocks.
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

// reuseInbound makes e use the inbound of predecessor, if that is for the same channel, in place of
// its own. The subscriptions then need not be replaced, so no request is lost or delivered twice.
// If Replace fails later, the inbound stays with predecessor; it may have subscribed to grants that
// only e needs, which are ignored.
func (e *endpoint) reuseInbound(predecessor *endpoint) {
	if predecessor == nil {
		return
	}
	if i := predecessor.inbound; i.channel == e.inbound.channel && i.mode == e.inbound.mode {
		e.inbound = i
		i.addEndpoint()
	}
}
