package redisbus

import (
	"net"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/logthrottle"
)

// outageEventInterval is the minimum time between two events that say why the bus cannot connect.
const outageEventInterval = 5 * time.Second

// outageEvents emits events that say why the bus cannot connect again.
type outageEvents struct {
	bus   *core
	start time.Time
	// reason is the reason given by the last event.
	reason   string
	throttle logthrottle.Throttle
}

// add is called after a failed attempt to connect. It emits an event if the reason has changed,
// unless the last event is recent. It emits no event until the outage has lasted for half a probe
// interval, because a server that restarts refuses connections at first.
func (o *outageEvents) add(err error) {
	reason := outageReason(err)
	if reason == o.reason || time.Since(o.start) < o.bus.options.ProbeInterval/2 {
		return
	}
	if _, ok := o.throttle.Allow(outageEventInterval); !ok {
		// If the reason stays the same, the event is emitted after a later attempt.
		return
	}
	o.reason = reason
	o.bus.events.Disconnected(err)
}

// outageReason returns the part of the text of err that is the same in each attempt. The text of a
// network error also contains the local port, which differs in each attempt.
func outageReason(err error) string {
	if network, ok := errors.AsType[*net.OpError](err); ok {
		return network.Op + network.Err.Error()
	}
	return err.Error()
}
