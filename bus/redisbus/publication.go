package redisbus

import (
	"bufio"
	"unsafe"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// publication is a PUBLISH or SPUBLISH command for one frame, or the PUBSUB NUMSUB command that
// precedes it while there are observers.
type publication struct {
	bus     *Bus
	channel string
	frame   []byte
	report  bus.DeliveryReport
	// count is the number of subscribers, or nil if it is not needed.
	count *subscriberCount
	// counts is set if the command is PUBSUB NUMSUB. Its reply is stored in count.
	counts bool
}

func (p publication) size() int { return len(p.frame) }

func (p publication) write(w *bufio.Writer) {
	if p.counts {
		writeCommand(w, "pubsub", "numsub", p.channel)
		return
	}
	name := "publish"
	if p.bus.options.sharded {
		name = "spublish"
	}
	// The conversion avoids copying the frame. It is safe because a published frame must not be
	// modified.
	//nolint:gosec // see above
	writeCommand(w, name, p.channel, unsafe.String(unsafe.SliceData(p.frame), len(p.frame)))
}

// complete implements command. The reply to a PUBLISH is the number of receivers. complete passes
// this number, or err, to the publisher's report.
func (p publication) complete(receivers int64, err error) {
	b := p.bus
	if p.counts {
		p.count.onReply(receivers, err)
		return
	}
	if err != nil {
		b.publishErrors.Add(1)
		if isTransient(err) {
			b.workers.Go(func() { b.topology.refresh(b.ctx) })
		}
	} else {
		b.published.Add(1)
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
	if hasCode(err, "NOPERM") {
		code = errors.PermissionDenied
	}
	return errors.NewErrorf(code, "redis bus: cannot %s channel %.200s: %w", operation, channel, err)
}
