package serve

import (
	"bytes"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// declinedRequest is a task for the server's worker pool. The task is to tell a client that this
// server does not handle its request.
type declinedRequest struct {
	engine *Engine
	// method is nil if the server does not know the method.
	method *registry.Method
	client *clientEntry
	claim  wire.ClaimRequest
}

// declineRefused declines a request that the broker has refused to assign to this process; see
// [bus.RefusalNotifier]. A worker sends a claim that declines the request. If the client does not
// understand such claims, none is sent. If the frame is malformed, it is counted as a bad frame.
// declineRefused never blocks.
func declineRefused(e *endpoint, frame []byte) {
	s := e.plan.service
	request, ok := s.decodeDeclined(e.inbound.channel, frame)
	if ok {
		e.plan.recordClaim(-1)
	}
	if ok && (request.AnnounceAfter > 0 || request.AcceptDecline) {
		s.decline(request, e.plan.method, e.inbound.frames.Subscribers())
	}
}

// decodeDeclined decodes a request that this server does not handle. If the frame is malformed,
// decodeDeclined counts it as a bad frame and returns false.
func (s *Service) decodeDeclined(channel bus.Channel, frame []byte) (wire.Request, bool) {
	engine := s.engine
	request, _, err := transport.Decode(frame, wire.KindRequest, engine.limits, wire.ParseRequest)
	if err != nil {
		engine.drops.AddBad(channel, err)
	}
	return request, err == nil
}

// decline starts a worker that sends a claim to decline a request. It never blocks.
func (s *Service) decline(request wire.Request, method *registry.Method, subscribers uint32) {
	s.engine.workers.Go(&declinedRequest{
		engine: s.engine, method: method, client: s.clients.get(request.ClientID),
		claim: wire.ClaimRequest{
			RequestID: bytes.Clone(request.RequestID), ServerID: s.engine.wireID, Affinity: -1, Declined: true,
			Subscribers: subscribers,
		},
	})
}

// serve implements task.
func (r *declinedRequest) serve() {
	frame, err := r.claim.AppendFrame(nil)
	if err != nil {
		// This cannot happen, because AppendFrame fails only if an ID is not valid UTF-8.
		return
	}
	// The context is not derived from the server's, because a server that is closing declines
	// requests too.
	ctx := lazyctx.Timeout{Limit: r.engine.Timeout}
	defer ctx.Cancel()
	// The error can be ignored, because publishToClient has already logged it.
	_ = r.engine.publishToClient(&ctx, r.method, r.client.claims, frame)
}
