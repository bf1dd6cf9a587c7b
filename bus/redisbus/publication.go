package redisbus

import (
	"bufio"
	"unsafe"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// maxPublishBatch is the maximum number of publications in a batch.
const maxPublishBatch = 512

// publication is a PUBLISH or SPUBLISH command for one frame, or the PUBSUB NUMSUB command that
// precedes it while there are observers.
type publication struct {
	bus     *core
	channel string
	frame   []byte
	report  bus.DeliveryReport
	// count is the number of subscribers, or nil if it is not needed.
	count *subscriberCount
	// counts is set if the command is PUBSUB NUMSUB. Its reply is stored in count.
	counts bool
}

// Size returns the length of the frame.
func (p publication) Size() int { return len(p.frame) }

// Write writes the command.
func (p publication) Write(w *bufio.Writer) {
	if p.counts {
		resp.WriteCommand(w, "pubsub", "numsub", p.channel)
		return
	}
	name := "publish"
	if p.bus.options.sharded {
		name = "spublish"
	}
	// The conversion avoids copying the frame. It is safe because a published frame must not be
	// modified.
	//nolint:gosec // see above
	resp.WriteCommand(w, name, p.channel, unsafe.String(unsafe.SliceData(p.frame), len(p.frame)))
}

// Complete implements pipeline.Command. The reply to a PUBLISH is the number of receivers. Complete
// passes this number, or err, to the publisher's report. It passes bus.Unknown if Redis does not
// count all receivers.
func (p publication) Complete(receivers int64, err error) {
	b := p.bus
	if p.counts {
		p.count.onReply(receivers, err)
		return
	}
	if err != nil {
		b.counters.PublishErrors.Add(1)
		if resp.IsTransient(err) {
			b.workers.Go(func() { b.topology.refresh(b.ctx) })
		}
	} else {
		b.counters.Published.Add(1)
	}
	if p.report == nil {
		return
	}
	switch {
	case err != nil:
		p.report.Delivered(bus.Unknown, channelError("publish on", p.channel, err))
	case b.topology.reportsReceivers():
		b.observers.onPublished(p.channel, receivers)
		p.report.Delivered(int(p.count.limit(receivers)), nil)
	default:
		p.report.Delivered(bus.Unknown, nil)
	}
}

// channelError returns the error for a failed operation on a channel. Its code depends on the error
// reply from Redis.
func channelError(operation, channel string, err error) error {
	code := errors.Unavailable
	if resp.HasCode(err, "NOPERM") {
		code = errors.PermissionDenied
	}
	return errors.NewErrorf(code, "redis bus: cannot %s channel %.200s: %w", operation, channel, err)
}
