package natsbus

import (
	"context"
	"runtime"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// maxScratch is the largest buffer, in bytes, that is kept for later frames.
const maxScratch = 64 << 10

// scratch buffers are where frames get their routing key: nats.go copies what it is given, and the frame itself may
// be in use by others.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// Publish hands frame to the connection, which sends it at once or with others. The report is told if the server says
// that nobody listens on the subject, or if the link fails before the server has confirmed the frame.
func (b *Bus) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := b.checkConnected(); err != nil {
		return err
	}
	subject, key := b.subjectOf(channel)
	if err := b.validate(channel, subject, len(frame)+wire.SizeRoutingKey(key)); err != nil {
		return err
	}
	out := outgoing{subject: subject, key: key, frame: frame, report: report}
	queued, contended := b.combiner.submit(out)
	if queued {
		return nil
	}
	if contended {
		runtime.Gosched() // those who are about to publish, too, leave it here, and one write has it all
	}
	err := b.send(out)
	b.sendQueued()
	if err != nil {
		return b.publishError(err, channel, len(frame))
	}
	return nil
}

// validate finds out what nats.go would refuse, before the frame is left with somebody else.
func (b *Bus) validate(channel bus.Channel, subject string, size int) error {
	if limit := b.maxPayload.Load(); limit > 0 && int64(size) > limit {
		return b.publishError(nats.ErrMaxPayload, channel, size)
	}
	if !validSubject(subject) {
		return b.publishError(nats.ErrBadSubject, channel, size)
	}
	return nil
}

// validSubject tells whether nats.go publishes there. To look for one character after the other takes half as long as
// strings.ContainsAny.
func validSubject(subject string) bool {
	for _, space := range [...]byte{' ', '\t', '\r', '\n'} {
		if strings.IndexByte(subject, space) >= 0 {
			return false
		}
	}
	return subject != ""
}

// sendQueued sends what others have left meanwhile. It is on the way then: they learn by the report if it fails.
func (b *Bus) sendQueued() {
	for batch := b.combiner.nextBatch(); len(batch) > 0; batch = b.combiner.nextBatch() {
		for _, out := range batch {
			if b.send(out) == nil {
				continue
			}
			b.publishErrors.Add(1)
			if out.report != nil {
				out.report.Delivered(bus.Unknown, errConnLost)
			}
		}
	}
}

// send hands a frame to nats.go.
func (b *Bus) send(out outgoing) error {
	if out.key == "" {
		return b.sendFrame(out.subject, out.frame, out.report)
	}
	buffer := scratch.Get().(*[]byte)
	withKey := wire.AppendRoutingKey(append((*buffer)[:0], out.frame...), out.key)
	err := b.sendFrame(out.subject, withKey, out.report)
	if cap(withKey) <= maxScratch {
		*buffer = withKey
		scratch.Put(buffer)
	}
	return err
}

// checkConnected returns why nothing can be published at the moment.
func (b *Bus) checkConnected() error {
	if err := b.conn.err(); err != nil {
		return err
	}
	if b.buffersOffline && b.nc.Status() != nats.CONNECTED { // the news has not come to the bus yet
		return errConnLost
	}
	return nil
}

// subjectOf returns where a channel is on NATS, and the routing key in its frames.
func (b *Bus) subjectOf(channel bus.Channel) (subject, key string) {
	if b.options.subjectPerMethod && channel.Key != "" {
		return b.options.prefix + channel.Subject + "." + channel.Key, ""
	}
	return b.options.prefix + channel.Subject, channel.Key
}

func (b *Bus) sendFrame(subject string, frame []byte, report bus.DeliveryReport) (err error) {
	if report == nil {
		err = b.nc.Publish(subject, frame)
	} else {
		err = b.sendWithReport(subject, frame, report)
	}
	if err == nil {
		b.published.Add(1)
	}
	return err
}

// sendWithReport returns nil if the report is told the outcome, be it that the frame could not be sent.
func (b *Bus) sendWithReport(subject string, frame []byte, report bus.DeliveryReport) (err error) {
	token := b.reports.add(subject, report)
	if b.noResponders.enabled() {
		err = b.nc.PublishRequest(subject, b.noResponders.replySubject(token), frame)
	} else {
		err = b.nc.Publish(subject, frame)
	}
	if err != nil && !b.reports.cancel(token) {
		return nil
	}
	return err
}

func (b *Bus) publishError(err error, channel bus.Channel, size int) error {
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return errors.NewErrorf(errors.ResourceExhausted, "%w: %d bytes on channel %s, the limit of the nats server is %d",
			bus.ErrFrameTooLarge, size, channel, b.nc.MaxPayload())
	case errors.Is(err, nats.ErrBadSubject):
		return b.subjectError(err, channel)
	}
	if down := b.conn.err(); down != nil {
		return down
	}
	if errors.Is(err, nats.ErrReconnectBufExceeded) { // the news has not come to the bus yet
		return errConnLost
	}
	return errors.NewErrorf(errors.Unavailable, "nats bus cannot publish on channel %s: %w", channel, err)
}

func (b *Bus) subjectError(err error, channel bus.Channel) error {
	subject, _ := b.subjectOf(channel)
	return errors.NewErrorf(errors.InvalidArgument, "channel %s: %q cannot be a nats subject: %w", channel, subject, err)
}
