package call

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
)

// cancelTimeout limits how long it may take to publish a cancellation on a busy bus. The limit is
// short because the call does not return before the attempt has ended. The same limit applies to
// discovery requests and to Plan.selectNobody.
const cancelTimeout = 100 * time.Millisecond

// cancelReport is the bus.DeliveryReport for an engine's cancellations for one service. psrpc sends
// no cancellations, so a broker whose access rules were written for psrpc may deny them. In that
// case, the engine logs a warning and sends no more cancellations for the service.
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
