package dynamic

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// cancelTimeout bounds the wait of a canceled call for a bus that is busy: its caller wants to leave.
const cancelTimeout = 100 * time.Millisecond

// cancel tells the servers that nobody awaits a call any more, on a channel of which psrpc's know nothing. Time
// that runs out is not news to them: a request says when it expires.
func (p *clientPlan) cancel(callID id.Call) {
	frame, err := (&wire.Cancel{RequestID: callID[:]}).AppendFrame(nil)
	if err != nil {
		return // cannot be: the id is ours
	}
	ctx, cancel := context.WithTimeout(context.Background(), cancelTimeout)
	defer cancel()
	channel := bus.Channel(wire.CancelChannel(p.method.Service().WireName()))
	_ = p.conn.bus.Publish(ctx, channel, frame, nil) // if it is lost, the request still expires
}
