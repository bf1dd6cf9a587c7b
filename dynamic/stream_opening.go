package dynamic

import (
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// streamOpening is the state of the request that opens a client's stream. The request is handled
// like a single call without a message: servers claim it, and the client selects one of them. The
// response is the acknowledgement or the close frame of that server. The method onAck or onRefused
// puts it into the inbox.
type streamOpening struct {
	// id is the ID of the request to open the stream.
	id    id.Call
	inbox *callInbox
	// keepalive is the keepalive interval that the server has announced, in nanoseconds. It is 0
	// before the acknowledgement has arrived, and if the server has announced none.
	keepalive atomic.Int64
	// server is the ID of the server that was selected. It is empty if the method does not require
	// claims, and nil until the stream is open.
	server atomic.Pointer[string]
}

// warnClockSkew logs a warning about the server's clock. It does nothing if the stream is not open
// yet, because the server is then unknown.
func (o *streamOpening) warnClockSkew(p *clientPlan) {
	if server := o.server.Load(); server != nil {
		p.conn.warnClockSkew(p.method, *server)
	}
}

// onAck completes the request to open the stream. With MULTI routing, every server sends an
// acknowledgement, but only the first one has an effect. onAck never blocks.
func (o *streamOpening) onAck(frame *wire.Stream) {
	o.keepalive.CompareAndSwap(0, frame.Keepalive)
	o.inbox.onResponse(wire.Response{})
}

// onRefused makes the request to open the stream fail with the error from a close frame. It has no
// effect if the request has been acknowledged before. It never blocks.
func (o *streamOpening) onRefused(err errors.Error) {
	o.inbox.onResponse(wire.Response{Code: string(err.Code()), Error: err.Error(), Details: err.DetailsProto()})
}
