package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/call"
	"github.com/dynpsrpc/dynpsrpc/internal/quiettime"
)

// serverResponse is the response from one server to a multi call.
type serverResponse struct {
	serverID string
	message  proto.Message
	err      error
}

func (p *clientPlan) decodeServerResponse(response *call.Response) serverResponse {
	decoded := serverResponse{serverID: response.ServerID, err: response.Err}
	if response.Err == nil {
		decoded.message, decoded.err = p.decodeResponse(response.Raw, nil)
	}
	return decoded
}

// startMulti sends a request to every server. The request has already passed through all
// interceptors.
func (p *clientPlan) startMulti(ctx context.Context, r *route, request proto.Message, o *requestOptions) (*call.Multi, error) {
	outgoing := o.outgoing(ctx, p.requests.Body(request))
	outgoing.QuietTime = quiettime.Of(ctx)
	return p.calls.StartMulti(ctx, &r.Route, &outgoing)
}
