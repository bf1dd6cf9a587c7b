package dynamic

import (
	"bytes"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// refusedRequest is a request that the broker has refused to assign to this process. A worker tells
// the client that this server declines the request.
type refusedRequest struct {
	server *Server
	method *registry.Method
	client *clientEntry
	claim  wire.ClaimRequest
}

// declineRefused starts a worker that sends a claim to decline a request. If the client does not
// understand such claims, declineRefused does nothing. It never blocks.
func declineRefused(e *endpoint, frame []byte) {
	r := e.plan.registration
	server := r.server
	request, _, err := transport.Decode(frame, wire.KindRequest, server.options.decompression(), wire.ParseRequest)
	if err != nil {
		server.drops.addBad(e.inbound.channel, err)
		return
	}
	if request.AnnounceAfter == 0 && !request.AcceptDecline {
		return
	}
	server.workers.Go(&refusedRequest{
		server: server, method: e.plan.method, client: r.clients.get(request.ClientID),
		claim: wire.ClaimRequest{
			RequestID: bytes.Clone(request.RequestID), ServerID: server.wireID, Affinity: -1, Declined: true,
			Subscribers: e.inbound.frames.Subscribers(),
		},
	})
}

// serve implements task.
func (r *refusedRequest) serve() {
	frame, err := r.claim.AppendFrame(nil)
	if err != nil {
		// This cannot happen, because AppendFrame fails only if an ID is not valid UTF-8.
		return
	}
	ctx := lazyctx.Context{Parent: r.server.ctx, Expiry: time.Now().Add(r.server.options.timeout)}
	defer ctx.Cancel()
	// The error can be ignored, because publishToClient has already logged it.
	_ = r.server.publishToClient(&ctx, r.method, r.client.claims, frame)
}
