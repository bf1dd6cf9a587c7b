package natsbus

import (
	"context"
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
func (b *Bus) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.Report) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := b.usable(); err != nil {
		return err
	}
	subject, key := b.locate(channel)
	if key == "" {
		return b.publish(channel, subject, frame, report)
	}
	buffer := scratch.Get().(*[]byte)
	keyed := wire.AppendRoutingKey(append((*buffer)[:0], frame...), key)
	err := b.publish(channel, subject, keyed, report)
	if cap(keyed) <= maxScratch {
		*buffer = keyed
		scratch.Put(buffer)
	}
	return err
}

// usable returns why nothing can be published at the moment.
func (b *Bus) usable() error {
	if err := b.link.err(); err != nil {
		return err
	}
	if b.buffers && b.nc.Status() != nats.CONNECTED { // the news has not come to the bus yet
		return errConnLost
	}
	return nil
}

// locate returns where a channel is on NATS, and the routing key in its frames.
func (b *Bus) locate(channel bus.Channel) (subject, key string) {
	if b.options.subjectPerMethod && channel.Key != "" {
		return b.options.prefix + channel.Subject + "." + channel.Key, ""
	}
	return b.options.prefix + channel.Subject, channel.Key
}

func (b *Bus) publish(channel bus.Channel, subject string, frame []byte, report bus.Report) error {
	var err error
	if report == nil {
		err = b.nc.Publish(subject, frame)
	} else {
		err = b.publishReported(subject, frame, report)
	}
	if err != nil {
		return b.publishError(err, channel, len(frame))
	}
	b.published.Add(1)
	return nil
}

// publishReported returns nil if the report is told the outcome, be it that the frame could not be sent.
func (b *Bus) publishReported(subject string, frame []byte, report bus.Report) (err error) {
	token := b.reports.add(subject, report)
	if b.silence.known() {
		err = b.nc.PublishRequest(subject, b.silence.reply(token), frame)
	} else {
		err = b.nc.Publish(subject, frame)
	}
	if err != nil && !b.reports.withdraw(token) {
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
	if down := b.link.err(); down != nil {
		return down
	}
	if errors.Is(err, nats.ErrReconnectBufExceeded) { // the news has not come to the bus yet
		return errConnLost
	}
	return errors.NewErrorf(errors.Unavailable, "nats bus cannot publish on channel %s: %w", channel, err)
}

func (b *Bus) subjectError(err error, channel bus.Channel) error {
	subject, _ := b.locate(channel)
	return errors.NewErrorf(errors.InvalidArgument, "channel %s: %q cannot be a nats subject: %w", channel, subject, err)
}
