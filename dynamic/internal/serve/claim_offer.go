package serve

import (
	"context"
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/tap"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// claimOffer holds what a server needs to claim a call or a request to open a stream.
//
// Claims and grants ensure that exactly one server handles a request that several servers receive.
// Each of them publishes a claim with its affinity. The client selects one server and publishes a
// grant with the ID of this server, which all servers receive. Only the client can decide, because
// only it receives all claims and knows whether it is still waiting.
type claimOffer struct {
	plan      *plan
	topic     []string
	requestID []byte
	// needsGrant reports whether the server waits until the client has selected it.
	needsGrant bool
	client     *clientEntry
	// subscribers is the number of servers in this process that shared one bus subscription when
	// the request arrived. Clients need this number, because the bus counts these servers as one
	// receiver. It is 0 if this server had its own subscription, and for queue methods.
	subscribers uint32
	affinity    func() float32
	// acceptDecline reports whether the client understands claims that decline a request.
	acceptDecline bool
}

// send sends the claim. It returns false if the claim declines the request or could not be sent. A
// server with a negative affinity does not handle the request. If the client understands claims
// that decline a request, the server sends one, so that the client does not wait for it.
func (o *claimOffer) send(ctx context.Context) bool {
	engine := o.plan.engine
	affinity := o.plan.callAffinity(ctx, o.affinity)
	if report := engine.tap.Load(); report != nil {
		o.tapClaim(report, affinity)
	}
	o.plan.recordClaim(affinity)
	claim := wire.ClaimRequest{
		RequestID: o.requestID, ServerID: engine.wireID, Affinity: affinity, Declined: affinity < 0,
		Handling: !o.needsGrant && affinity >= 0, Subscribers: o.subscribers,
	}
	if claim.Declined && !o.acceptDecline || ctx.Err() != nil {
		return false
	}
	frame, err := claim.AppendFrame(nil)
	if err != nil {
		// This cannot happen, because AppendFrame fails only if an ID is not valid UTF-8.
		engine.Logger.Error("dynpsrpc: cannot encode claim",
			slog.String("method", o.plan.method.FullName()), slog.Any("error", err))
		return false
	}
	// The client decides when the request expires, which may be long after it has stopped waiting
	// for claims. Publishing a claim therefore has a timeout of its own. publishToClient logs
	// errors.
	publishContext := lazyctx.Context{Parent: ctx, Expiry: time.Now().Add(engine.Timeout)}
	defer publishContext.Cancel()
	err = engine.publishToClient(&publishContext, o.plan.method, o.client.claims, frame)
	return !claim.Declined && err == nil
}

// tapClaim passes a claim to report. A negative affinity means that the server declines the
// request.
func (o *claimOffer) tapClaim(report func(tap.Traffic), affinity float32) {
	t := tap.Traffic{
		Kind: tap.Claim, Method: o.plan.method, Topic: o.topic, ClientID: o.client.id, RequestID: o.requestID, Affinity: affinity,
	}
	if affinity < 0 {
		t.Kind = tap.Decline
	}
	report(t)
}
