package dynamic

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// pendingClaims maps the requests that a server has claimed, and whose client has not yet selected
// a server, to the channels that receive the selection.
type pendingClaims struct {
	mu sync.Mutex
	// waiting holds channels of capacity one by request id.
	waiting map[string]chan bool
}

// register adds a request and returns the channel that receives whether the client selected this
// server. A request with the same id replaces an earlier one, as in psrpc.
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

// deregister undoes register. It compares the channel so that it does not remove a later request
// with the same id.
func (p *pendingClaims) deregister(requestID []byte, grant chan bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting[string(requestID)] == grant {
		delete(p.waiting, string(requestID))
	}
}

// resolve passes the client's selection to the goroutine that waits for it. Only the first
// selection of a request counts. A selection for an unknown request is ignored: every server of the
// method receives it, also servers that did not claim.
func (p *pendingClaims) resolve(requestID []byte, granted bool) {
	p.mu.Lock()
	grant := p.waiting[string(requestID)]
	delete(p.waiting, string(requestID))
	p.mu.Unlock()
	if grant != nil {
		// This cannot block: the channel is no longer in the table, so this is its only send.
		grant <- granted
	}
}

// claimOffer holds what a server needs to claim a request of a call or a stream open.
//
// Claims and grants make sure that exactly one server runs a request which the bus delivers to
// several. Each server that can run the request publishes a claim with its affinity, the client
// selects one of them, and the grant names the selected server to all. Only the client can decide
// that: it alone receives all claims and knows whether it is still waiting.
type claimOffer struct {
	plan      *serverPlan
	requestID []byte
	// grant receives whether the client selected this server. It was registered when the request
	// arrived, because the grant may arrive as soon as the claim is sent. It is nil if no grant is
	// needed.
	grant  <-chan bool
	client *clientEntry
	// subscribers is the result of endpoint.subscribers when the request arrived.
	subscribers uint32
	affinity    func() float32
	// acceptDecline is true if the client understands claims that decline the request.
	acceptDecline bool
	// closing is closed when the endpoint stops accepting requests.
	closing <-chan struct{}
}

// obtainGrant sends the claim and reports whether the server may run the request: the client
// selected this server, or no grant is needed. With a negative affinity the server does not run the
// request. It then sends a claim that declines the request, so that the client need not wait for
// this server, or nothing to a client that does not understand such a claim.
func (o *claimOffer) obtainGrant(ctx context.Context) bool {
	server := o.plan.server
	affinity := o.plan.callAffinity(ctx, o.affinity)
	claim := wire.ClaimRequest{
		RequestID: o.requestID, ServerID: server.wireID, Affinity: affinity, Declined: affinity < 0,
		Subscribers: o.subscribers,
	}
	if claim.Declined && !o.acceptDecline || ctx.Err() != nil {
		return false
	}
	frame, err := claim.AppendFrame(nil)
	if err != nil {
		// This does not happen: both ids are known to be valid UTF-8.
		server.options.logger.Error("dynpsrpc: cannot encode claim",
			slog.String("method", o.plan.method.FullName()), slog.Any("error", err))
		return false
	}
	err = server.publishToClient(ctx, o.plan.method, o.client.claims, frame) // logs the error
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
	// The endpoint is closing, but the client may select this server because of its claim. Wait for
	// the grant, but no longer than a client usually takes to select: a client that has gone must
	// not delay Shutdown until the request expires.
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
