package serve

import (
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/tap"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// sendsClaim reports whether the server must send a claim before the response. Even if no grant is
// needed, a psrpc client ignores the response of a server whose claim it has not received.
func (c *call) sendsClaim() bool {
	return c.claim != nil || c.plan().method.RequireClaim() && !c.acceptDirect
}

// obtainGrant sends a claim if the client expects one. If mayDecline is set and this server is not
// willing to handle the request, it declines the request instead. granted reports whether the
// server may handle the request. If decided is false, the request waits for the client's decision.
// The caller must then not use c any more, because another goroutine continues the call.
func (c *call) obtainGrant(request wire.Body) (granted, decided bool) {
	switch {
	case c.mayDecline && !c.accepts(request):
		c.decline()
		return false, true
	case c.sendsClaim() && !c.offer(request).send(&c.context):
		c.emitUnawaited(ClaimDeclined)
		return false, true
	case c.claim == nil:
		c.emitUnawaited(ClaimSkipped)
		return true, true
	}
	c.claim.request = request
	return c.plan().engine.pendingClaims.park(c.claim)
}

// accepts reports whether this server handles a request for which mayDecline is set. It returns
// false if the affinity is negative or if the context of the call has ended, for example because
// the client has canceled the request.
func (c *call) accepts(request wire.Body) bool {
	affinity := c.plan().callAffinity(&c.context, c.affinity(request))
	return !(affinity < 0) && c.context.Err() == nil
}

// decline tells the client that this server does not handle the request.
func (c *call) decline() {
	c.emitUnawaited(ClaimDeclined)
	if report := c.plan().engine.tap.Load(); report != nil {
		t := c.traffic(tap.Decline)
		t.Affinity = -1
		report(t)
	}
	c.plan().recordClaim(-1)
	declined := declinedRequest{
		engine: c.plan().engine, method: c.plan().method, client: c.client,
		claim: wire.ClaimRequest{
			RequestID: c.requestID, ServerID: c.plan().engine.wireID, Affinity: -1, Declined: true, Subscribers: c.subscribers,
		},
	}
	declined.serve()
}

// emitUnawaited emits an event about a request that the server handles or declines without waiting
// to be selected. emitUnawaited does nothing if the server waits, or if the method requires no
// claim.
func (c *call) emitUnawaited(outcome ClaimOutcome) {
	if c.claim == nil && c.plan().method.RequireClaim() && c.endpoint.hasEvents() {
		c.endpoint.emit(Event{Kind: ClaimDecided, Peer: c.client.id, Outcome: outcome})
	}
}

// offer returns the claim that this server sends for the request.
func (c *call) offer(request wire.Body) *claimOffer {
	return &claimOffer{
		plan:          c.plan(),
		topic:         c.endpoint.topic,
		requestID:     c.requestID,
		needsGrant:    c.claim != nil,
		client:        c.client,
		subscribers:   c.subscribers,
		affinity:      c.affinity(request),
		acceptDecline: c.acceptDecline,
	}
}

// affinity returns a function that returns the affinity of this server for the request. While a
// concurrency limit is reached, the affinity is negative. The server then declines the request, so
// that the client selects another server.
func (c *call) affinity(request wire.Body) func() float32 {
	return func() float32 {
		switch {
		case c.atLimit():
			return -1
		case c.plan().handler.Affinity == nil:
			return 1
		default:
			return c.plan().handler.Affinity(&c.context, request)
		}
	}
}
