package dynamic

import (
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// streamOpening is the state of the request that opens a client's stream. The request is handled
// like a unary call without a message: servers claim it, and the client grants it to one of them.
// The acknowledgement or close frame of that server is put into the call's inbox as the response.
type streamOpening struct {
	// id is the request ID of the open request.
	id    id.Call
	inbox *callInbox
	// keepalive is the keepalive interval announced by the server, in nanoseconds. It is 0 until
	// the acknowledgement arrives, and remains 0 if the server has disabled keepalives.
	keepalive atomic.Int64
	// server is the ID of the server that was selected. It is empty if the method does not require
	// claims, and nil until the stream is open.
	server atomic.Pointer[string]
}

// warnClockSkew logs a warning about the server's clock once the server is known.
func (o *streamOpening) warnClockSkew(p *clientPlan) {
	if server := o.server.Load(); server != nil {
		p.conn.warnClockSkew(p.method, *server)
	}
}

// onAck completes the open request. With MULTI routing every server sends an acknowledgement, and
// only the first acknowledgement has an effect. onAck never blocks.
func (o *streamOpening) onAck(frame *wire.Stream) {
	o.keepalive.CompareAndSwap(0, frame.Keepalive)
	o.inbox.onResponse(wire.Response{})
}

// onRefused fails the open request with the error from a close frame. It has no effect once the
// request has been acknowledged. It never blocks.
func (o *streamOpening) onRefused(err errors.Error) {
	o.inbox.onResponse(wire.Response{Code: string(err.Code()), Error: err.Error(), Details: err.DetailsProto()})
}
