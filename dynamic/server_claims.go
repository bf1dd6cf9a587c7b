package dynamic

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// pendingClaims holds the requests that a server has claimed and for which the client has not yet
// selected a server. Each request has a channel that receives the client's selection.
type pendingClaims struct {
	mu sync.Mutex
	// waiting maps the ID of each request to its channel, which has capacity 1.
	waiting map[string]chan bool
}

// register adds a request and returns a channel. The channel receives true if the client selects
// this server and false if it selects another one. As in psrpc, a request replaces an earlier
// request with the same ID.
func (p *pendingClaims) register(requestID []byte) chan bool {
	grant := make(chan bool, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == nil {
		p.waiting = map[string]chan bool{}
	}
	p.waiting[string(requestID)] = grant
	return grant
}

// deregister undoes register. It removes the entry only if its channel is grant, so that a later
// request with the same ID is not affected.
func (p *pendingClaims) deregister(requestID []byte, grant chan bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting[string(requestID)] == grant {
		delete(p.waiting, string(requestID))
	}
}

// resolve passes the client's selection to the goroutine that is waiting for it. Only the first
// selection for a request counts. A selection for an unknown request is ignored: all servers of a
// method receive the selection, including those that did not claim the request.
func (p *pendingClaims) resolve(requestID []byte, granted bool) {
	p.mu.Lock()
	grant := p.waiting[string(requestID)]
	delete(p.waiting, string(requestID))
	p.mu.Unlock()
	if grant != nil {
		// This send cannot block: the channel has capacity 1, and nothing else sends to it, because
		// it has been removed from the map.
		grant <- granted
	}
}

// claimOffer holds everything a server needs to claim a call or a stream open.
//
// Claims and grants ensure that exactly one server handles a request that the bus delivers to
// several servers. Each server that can handle the request publishes a claim with its affinity. The
// client selects one of these servers and publishes a grant that names it, which all of them
// receive. Only the client can make this decision, because it alone receives all claims and knows
// whether it is still waiting.
type claimOffer struct {
	plan      *serverPlan
	requestID []byte
	// grant receives true if the client selects this server and false if it selects another one.
	// The channel was registered when the request arrived, because the grant may arrive as soon as
	// the claim has been sent. It is nil if no grant is needed.
	grant  <-chan bool
	client *clientEntry
	// subscribers is the value that endpoint.subscribers returned when the request arrived.
	subscribers uint32
	affinity    func() float32
	// acceptDecline reports whether the client understands claims that decline a request.
	acceptDecline bool
	// closing is closed when the endpoint stops accepting requests.
	closing <-chan struct{}
}

// obtainGrant sends the claim and reports whether this server may handle the request. If the client
// has to select a server first, obtainGrant waits until the client has done so.
//
// If the affinity is negative, the server does not handle the request. In that case obtainGrant
// sends a claim that declines the request, so that the client does not have to wait for this
// server. If the client does not understand such claims, obtainGrant sends nothing.
func (o *claimOffer) obtainGrant(ctx context.Context) bool {
	server := o.plan.server
	affinity := o.plan.callAffinity(ctx, o.affinity)
	claim := wire.ClaimRequest{
		RequestID: o.requestID, ServerID: server.wireID, Affinity: affinity, Declined: affinity < 0,
		Handling: o.grant == nil && affinity >= 0, Subscribers: o.subscribers,
	}
	if claim.Declined && !o.acceptDecline || ctx.Err() != nil {
		return false
	}
	frame, err := claim.AppendFrame(nil)
	if err != nil {
		// This cannot happen: AppendFrame fails only for invalid UTF-8, and both IDs are valid.
		server.options.logger.Error("dynpsrpc: cannot encode claim",
			slog.String("method", o.plan.method.FullName()), slog.Any("error", err))
		return false
	}
	// publishToClient logs the error, if there is one.
	err = server.publishToClient(ctx, o.plan.method, o.client.claims, frame)
	if claim.Declined || err != nil {
		return false
	}
	if o.grant == nil {
		return true
	}
	select {
	case granted := <-o.grant:
		return granted
	case <-ctx.Done():
		return false
	case <-o.closing:
	}
	// The endpoint is closing, but the claim has been sent, so the client may still select this
	// server. Wait for the grant, but no longer than a client usually takes to make a selection: a
	// client that is no longer waiting must not delay Shutdown until the request expires.
	grace := time.NewTimer(DefaultSelectionTimeout)
	defer grace.Stop()
	select {
	case granted := <-o.grant:
		return granted
	case <-ctx.Done():
	case <-grace.C:
	}
	return false
}
