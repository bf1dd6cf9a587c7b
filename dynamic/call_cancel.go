package dynamic

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// cancelTimeout bounds the time that an abandoned call spends on publishing its cancellation to a
// busy bus, because the call returns only afterwards.
const cancelTimeout = 100 * time.Millisecond

// cancel publishes that the caller has abandoned a call, so that servers cancel the handler's
// context. psrpc servers do not subscribe to the cancel channel and run the handler to its end. A
// call that reaches the expiry of its request needs no cancellation: its servers know the expiry.
func (p *clientPlan) cancel(callID id.Call) {
	frame, err := (&wire.Cancel{RequestID: callID[:]}).AppendFrame(nil)
	if err != nil {
		return // unreachable: a generated id is valid UTF-8
	}
	ctx, cancel := context.WithTimeout(context.Background(), cancelTimeout)
	defer cancel()
	channel := bus.Channel(wire.CancelChannel(p.method.Service().WireName()))
	// Errors are ignored: without the cancellation the handler's context ends at the expiry.
	_ = p.conn.bus.Publish(ctx, channel, frame, nil)
}
