package natsbus

import (
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// In a cluster, a server confirms a subscription before the other servers know about it. A peer may
// publish a frame through one of those, which then drops it or gives it to processes that do not
// serve its method. In both cases, no process handles the frame, so the peer's bus publishes it
// again. It does not repeat frames without a delivery report.

// clusterDelays are the delays before a frame without receivers is published again.
var clusterDelays = [...]time.Duration{10 * time.Millisecond, 90 * time.Millisecond}

// maxRepeated is the maximum size, in bytes, of a frame that the bus keeps to publish it again. It
// limits the memory that unconfirmed frames take.
const maxRepeated = 64 << 10

// clusterReport is the delivery report of a frame that is published in a cluster. It repeats the
// publication if there are no receivers, and passes the final outcome to the report of the
// publisher.
type clusterReport struct {
	bus *Bus
	// out is the frame to publish, together with its publisher's report.
	out     outgoing
	repeats atomic.Int32
}

// repeatable prepares a frame so that it can be published again. If the bus is connected to a
// server of a cluster, the returned frame has a clusterReport. Frames without a report and large
// frames are returned unchanged.
func (b *Bus) repeatable(out outgoing) outgoing {
	if out.report != nil && len(out.frame) <= maxRepeated && b.clustered.Load() {
		out.report = &clusterReport{bus: b, out: out}
	}
	return out
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
	time.AfterFunc(clusterDelays[repeat], r.publish)
}

// publish publishes the frame again. It runs on the goroutine of a timer.
func (r *clusterReport) publish() {
	err := r.bus.checkConnected()
	if err == nil {
		again := r.out
		again.report = r
		err = r.bus.send(again)
	}
	// If the repetition fails, report the outcome of the first publication, which had no receivers.
	if err != nil {
		r.out.report.Delivered(0, nil)
	}
}

var _ bus.DeliveryReport = (*clusterReport)(nil)
