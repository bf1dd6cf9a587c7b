package dynamic

import (
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// streamOpening is the state of the open request of a client's stream. The request is a unary call
// without a message: its claims and grants are those of a call, and the server's acknowledgement or
// close frame is put into the call's inbox as the response.
type streamOpening struct {
	// id is the request id of the open request.
	id    id.Call
	inbox *callInbox
	// keepalive is the interval that the server announced, in nanoseconds. It is 0 before the
	// acknowledgement, and if the server disabled keepalives.
	keepalive atomic.Int64
}

// onAck completes the open request. With MULTI routing every server acknowledges; the first
// acknowledgement counts. onAck never blocks.
func (o *streamOpening) onAck(frame *wire.Stream) {
	o.keepalive.CompareAndSwap(0, frame.Keepalive)
	o.inbox.onResponse(wire.Response{})
}

// onRefused fails the open request with the error of a close frame. It has no effect after an
// acknowledgement. It never blocks.
func (o *streamOpening) onRefused(err errors.Error) {
	o.inbox.onResponse(wire.Response{Code: string(err.Code()), Error: err.Error(), Details: err.DetailsProto()})
}
