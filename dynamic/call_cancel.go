package dynamic

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
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
	if p.cancels.denied.Load() {
		return
	}
	frame, err := (&wire.Cancel{RequestID: callID[:]}).AppendFrame(nil)
	if err != nil {
		return // unreachable: generated IDs are valid UTF-8
	}
	ctx, cancel := context.WithTimeout(context.Background(), cancelTimeout)
	defer cancel()
	channel := bus.Channel(wire.CancelChannel(p.method.Service().WireName()))
	// Without the cancellation, the handler's context ends at the expiry.
	p.cancels.Delivered(bus.Unknown, p.conn.bus.Publish(ctx, channel, frame, p.cancels))
}

// cancelReport is the delivery report of a conn's cancellations for one service. If the broker
// denies one, as under the rules of a psrpc fleet, the conn logs a warning and sends no more of
// them.
type cancelReport struct {
	service string
	logger  *slog.Logger
	denied  atomic.Bool
}

// Delivered implements bus.DeliveryReport.
func (r *cancelReport) Delivered(_ int, err error) {
	if transport.IsPermissionDenied(err) && r.denied.CompareAndSwap(false, true) {
		r.logger.Warn("dynpsrpc: the broker does not permit to publish cancellations: the handler of an abandoned call "+
			"runs until its deadline", slog.String("service", r.service), slog.Any("error", err))
	}
}
