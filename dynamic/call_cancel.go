package dynamic

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// cancelTimeout limits how long it may take to publish a cancellation on a busy bus. The limit is
// short because the call does not return before the attempt has ended. The same limit applies to
// discovery requests.
const cancelTimeout = 100 * time.Millisecond

// cancel publishes a cancellation for a call that the client has given up. dynpsrpc servers then
// cancel the context of the handler; psrpc servers let their handlers run to the end. Once the
// broker has denied a cancellation, cancel does nothing.
func (p *clientPlan) cancel(callID id.Call) {
	if p.cancels.denied.Load() {
		return
	}
	frame, err := (&wire.Cancel{RequestID: callID[:]}).AppendFrame(nil)
	if err != nil {
		// Encoding cannot fail here, because generated IDs are valid UTF-8.
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), cancelTimeout)
	defer cancel()
	channel := bus.Channel(wire.CancelChannel(p.method.Service().WireName()))
	// If the cancellation cannot be sent, the handler's context still ends when the request
	// expires.
	p.cancels.Delivered(bus.Unknown, p.conn.bus.Publish(ctx, channel, frame, p.cancels))
}

// selectNobody tells the servers that have claimed a request that none of them is selected. They
// then drop the request at once, instead of keeping it until it expires. Unlike cancel, it also
// reaches psrpc servers. It does nothing if no server waits for the decision.
func (p *clientPlan) selectNobody(r *route, callID id.Call, claims []wire.ClaimRequest) {
	isWaiting := func(claim wire.ClaimRequest) bool { return !claim.Declined && !claim.Handling }
	if !slices.ContainsFunc(claims, isWaiting) {
		return
	}
	frame, err := (&wire.ClaimResponse{RequestID: callID[:]}).AppendFrame(nil)
	if err != nil {
		// Encoding cannot fail here, because generated IDs are valid UTF-8.
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), cancelTimeout)
	defer cancel()
	// If the message cannot be sent, the servers drop the request when it expires.
	_ = p.conn.bus.Publish(ctx, r.grants, frame, nil)
}

// cancelReport is the bus.DeliveryReport for a conn's cancellations for one service. psrpc sends no
// cancellations, so a broker whose access rules were written for psrpc may deny them. In that case,
// the conn logs a warning and sends no more cancellations for the service.
type cancelReport struct {
	service string
	logger  *slog.Logger
	denied  atomic.Bool
}

// Delivered implements bus.DeliveryReport. It checks whether the broker has denied a cancellation.
func (r *cancelReport) Delivered(_ int, err error) {
	if transport.IsPermissionDenied(err) && r.denied.CompareAndSwap(false, true) {
		r.logger.Warn("dynpsrpc: the broker does not permit to publish cancellations: the handler of an abandoned call "+
			"runs until its deadline", slog.String("service", r.service), slog.Any("error", err))
	}
}
