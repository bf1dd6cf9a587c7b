package dynamic

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/call"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// callUnary sends a request to one server and returns the encoded response. When the call has
// ended, it sets the variables passed to [WithPeer] and [WithFacts] and emits an event about the
// claims.
func (p *clientPlan) callUnary(ctx context.Context, r *route, request wire.Body, o *requestOptions) ([]byte, error) {
	outgoing := o.outgoing(ctx, request)
	if len(o.serverIDs) == 0 && len(o.facts) == 0 && !p.hasEvents() {
		return p.calls.Call(ctx, &r.Route, &outgoing, nil)
	}
	var ending call.Ending
	response, err := p.calls.Call(ctx, &r.Route, &outgoing, &ending)
	if ending.Facts.RequestID == "" {
		return response, err // the request could not be encoded
	}
	for _, serverID := range o.serverIDs {
		*serverID = ending.Facts.ServerID
	}
	for _, facts := range o.facts {
		*facts = ending.Facts
	}
	p.emitClaim(r, &ending)
	return response, err
}

// decodeResponse decodes raw, the encoded response of a call. If err, the error of the call, is not
// nil, decodeResponse returns err instead.
func (p *clientPlan) decodeResponse(raw []byte, err error) (proto.Message, error) {
	if err != nil {
		return nil, err
	}
	response, err := p.responses.Decode(raw)
	if err != nil {
		return nil, errors.NewErrorf(errors.MalformedResponse, "response of %s: %w", p.method.FullName(), err)
	}
	return response, nil
}

// hasEvents reports whether the conn has handlers for request events.
func (p *clientPlan) hasEvents() bool { return len(p.options.interceptors.events) > 0 }

// emitClaim emits an event about the claims of a call that has ended. It emits nothing if the
// claims had no outcome, for example because the caller has canceled the call.
func (p *clientPlan) emitClaim(r *route, ending *call.Ending) {
	outcome := engineOutcomes[ending.Outcome]
	if outcome == 0 || !p.hasEvents() {
		return
	}
	emitRequestEvent(p.options.interceptors.events, p.options.panics(), RequestEvent{
		Kind: ClaimDecided, Info: newRPCInfo(p.method, r.Topic), Peer: ending.Server, Outcome: outcome, Wait: ending.Wait,
	})
}

// engineOutcomes maps the outcomes of package call to those of this package. An outcome for which
// no event is emitted is mapped to 0.
var engineOutcomes = [...]ClaimOutcome{
	call.NoOutcome: 0, call.Granted: ClaimGranted, call.Skipped: ClaimSkipped,
	call.TimedOut: ClaimTimedOut, call.Declined: ClaimDeclined,
}

func (p *clientPlan) callInfo(r *route) RPCInfo {
	info := newRPCInfo(p.method, r.Topic)
	info.client = p.engine
	return info
}

// Deadline returns the deadline that a single or multi call would have if it were made now with ctx
// and opts. The deadline depends on the timeout in opts, the timeout of the conn, and the deadline
// of ctx. An interceptor that retries a call should call Deadline only once, before the first
// attempt, so that all attempts share one deadline.
//
// For streams, for subscriptions and on a server, Deadline returns the deadline of ctx, or the zero
// time if ctx has none.
func (i RPCInfo) Deadline(ctx context.Context, opts ...RequestOption) time.Time {
	if ctx == nil {
		ctx = context.Background()
	}
	if i.client == nil {
		deadline, _ := ctx.Deadline()
		return deadline
	}
	o := newRequestOptions(opts)
	_, expiry := i.client.Bounds(ctx, time.Now(), o.timeout)
	return expiry
}
