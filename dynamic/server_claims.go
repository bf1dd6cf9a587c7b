package dynamic

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// pendingClaims holds the requests that a server has claimed and that wait for their client's choice.
type pendingClaims struct {
	mu      sync.Mutex
	waiting map[string]chan bool // by request id; room for one
}

// register returns a channel on which the client's choice arrives: whether it is this server. Of two requests with
// one id the later one is served, as psrpc does.
func (t *pendingClaims) register(requestID []byte) chan bool {
	grant := make(chan bool, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting == nil {
		t.waiting = map[string]chan bool{}
	}
	t.waiting[string(requestID)] = grant
	return grant
}

func (t *pendingClaims) deregister(requestID []byte, grant chan bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting[string(requestID)] == grant {
		delete(t.waiting, string(requestID))
	}
}

// resolve delivers a choice. The first one counts; who is not waiting hears nothing.
func (t *pendingClaims) resolve(requestID []byte, granted bool) {
	t.mu.Lock()
	grant := t.waiting[string(requestID)]
	delete(t.waiting, string(requestID))
	t.mu.Unlock()
	if grant != nil {
		grant <- granted // taken out of the table: nobody else sends, there is room
	}
}

// claimOffer is a request, for a call or a stream, that a server offers itself for.
type claimOffer struct {
	plan          *serverPlan
	requestID     []byte
	grant         <-chan bool // where the client's choice arrives, expected since the request came; nil if it need not choose
	client        *clientEntry
	subscribers   uint32 // servers that the bus counts as one receiver, when the request came; 0 for one
	affinity      func() float32
	acceptDecline bool            // the client understands a claim that declines
	closing       <-chan struct{} // closed when no more requests are taken
}

// obtainGrant claims a request and reports whether the client chose this server, or need not choose. A server whose
// affinity is negative says so to a client that understands it, and is silent towards others.
func (o *claimOffer) obtainGrant(ctx context.Context) bool {
	server := o.plan.server
	affinity := o.plan.callAffinity(ctx, o.affinity)
	claim := wire.ClaimRequest{
		RequestID: o.requestID, ServerID: server.wireID, Affinity: affinity, Declined: affinity < 0, Subscribers: o.subscribers,
	}
	if claim.Declined && !o.acceptDecline || ctx.Err() != nil { // or the client has gone
		return false
	}
	frame, err := claim.AppendFrame(nil)
	if err != nil { // cannot be: both ids were found to be UTF-8
		server.options.logger.Error("dynpsrpc: claim cannot be encoded", slog.String("method", o.plan.method.FullName()), slog.Any("error", err))
		return false
	}
	if claim.Declined {
		_ = server.publishToClient(ctx, o.plan.method, o.client.claims, frame) // logged there
		return false
	}
	if server.publishToClient(ctx, o.plan.method, o.client.claims, frame) != nil {
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
	// A client that is choosing still gets what it was offered; one that is gone does not hold up the end.
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
