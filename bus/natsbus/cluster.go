package natsbus

import (
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// In a cluster, a server confirms a subscription before the other servers know about it. If a peer
// publishes a frame through another server too early, that server may drop the frame or give it to
// processes that do not serve its method. The peer's bus therefore publishes the frame again,
// unless the frame is large or has no delivery report.

// clusterDelays are the delays before a frame without receivers is published again.
var clusterDelays = [...]time.Duration{10 * time.Millisecond, 90 * time.Millisecond}

// clusterReport is the delivery report of a frame that is published in a cluster. It repeats the
// publication if there are no receivers, and passes the final outcome to the report of the
// publisher.
type clusterReport struct {
	// send publishes a frame. It fails if the bus is disconnected or closed.
	send func(outgoing) error
	// out is the frame to publish, together with its publisher's report.
	out     outgoing
	repeats atomic.Int32
}

// Delivered implements bus.DeliveryReport.
func (r *clusterReport) Delivered(receivers int, err error) {
	if receivers != 0 || err != nil && !errors.Is(err, bus.ErrMisrouted) {
		r.out.report.Delivered(receivers, err)
		return
	}
	repeat := int(r.repeats.Add(1)) - 1
	if repeat >= len(clusterDelays) {
		r.out.report.Delivered(0, err)
		return
	}
	time.AfterFunc(clusterDelays[repeat], r.repeat)
}

// repeat publishes the frame again. It runs on the goroutine of a timer.
func (r *clusterReport) repeat() {
	again := r.out
	again.report = r
	// If the frame cannot be published again, report that the previous attempt had no receivers.
	if r.send(again) != nil {
		r.out.report.Delivered(0, nil)
	}
}

var _ bus.DeliveryReport = (*clusterReport)(nil)
