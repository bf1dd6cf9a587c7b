package dynamic

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// cancelTimeout limits how long an abandoned call tries to publish its cancellation on a busy bus.
// The limit is short because the call returns only after that attempt.
const cancelTimeout = 100 * time.Millisecond

// cancel publishes a cancellation for a call that the caller has abandoned, so that servers cancel
// the handler's context. psrpc servers do not subscribe to the cancel channel and let the handler
// run to completion. A call that has reached the expiry sent in its request needs no cancellation,
// because the servers know that expiry.
func (p *clientPlan) cancel(callID id.Call) {
	frame, err := (&wire.Cancel{RequestID: callID[:]}).AppendFrame(nil)
	if err != nil {
		return // unreachable: generated IDs are valid UTF-8
	}
	ctx, cancel := context.WithTimeout(context.Background(), cancelTimeout)
	defer cancel()
	channel := bus.Channel(wire.CancelChannel(p.method.Service().WireName()))
	// The error is ignored: without the cancellation, the handler's context ends at the expiry.
	_ = p.conn.bus.Publish(ctx, channel, frame, nil)
}
