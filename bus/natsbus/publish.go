package natsbus

import (
	"context"
	"runtime"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// maxScratch is the maximum capacity, in bytes, of a buffer that is returned to the scratch pool.
const maxScratch = 64 << 10

// scratch contains buffers in which a routing key is appended to a copy of a frame. The frame
// itself must not be modified, because other goroutines may be reading it. A buffer can be reused
// immediately, because nats.go copies what it publishes.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// Publish passes frame to the NATS connection or queues it for another goroutine that is currently
// publishing. It returns one of the following errors:
//
//   - the context's error if ctx has ended
//   - bus.ErrClosed if the bus is closed
//   - bus.ErrFrameTooLarge if frame exceeds the server's limit
//   - an error with code unavailable if the bus is disconnected
//   - an error with code invalid_argument if the channel's subject is not a valid NATS subject or
//     is too long (see [WithMaxControlLine])
//
// The report receives zero receivers if the subject has no subscribers. It receives an error if the
// server denies permission or if the frame cannot be sent. The same happens if the connection fails
// before the server has confirmed the frame.
func (b *Bus) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	if err := nilarg.ContextErr(ctx); err != nil {
		return err
	}
	if err := b.checkConnected(); err != nil {
		return err
	}
	subject, key := b.subjectOf(channel)
	if err := b.validate(channel, subject, len(frame)+wire.SizeRoutingKey(key)); err != nil {
		return err
	}
	out := b.repeatable(outgoing{subject: subject, key: key, frame: frame, report: report})
	queued, contended := b.combiner.submit(out)
	if queued {
		return nil
	}
	if contended {
		// Let other publishers queue their frames for the same write.
		runtime.Gosched()
	}
	err := b.send(out)
	b.sendQueued()
	if err != nil {
		return b.publishError(err, channel, len(frame))
	}
	return nil
}

// validate performs the same checks as nats.go and also limits the length of the subject. It lets
// Publish return an error even if another goroutine sends the frame.
func (b *Bus) validate(channel bus.Channel, subject string, size int) error {
	if limit := b.maxPayload.Load(); limit > 0 && int64(size) > limit {
		// The server may have announced another limit.
		b.maxPayload.Store(b.conn().MaxPayload())
		if limit = b.maxPayload.Load(); limit > 0 && int64(size) > limit {
			return b.publishError(nats.ErrMaxPayload, channel, size)
		}
	}
	if len(subject) > b.maxSubject {
		return b.subjectTooLongError(subject)
	}
	if !validSubject(subject) {
		return b.publishError(nats.ErrBadSubject, channel, size)
	}
	return nil
}

// validSubject reports whether nats.go accepts subject for publishing. Calling IndexByte once per
// whitespace character takes half the time of strings.ContainsAny.
func validSubject(subject string) bool {
	for _, space := range [...]byte{' ', '\t', '\r', '\n'} {
		if strings.IndexByte(subject, space) >= 0 {
			return false
		}
	}
	return subject != ""
}

// sendQueued sends the frames that other goroutines have queued while this goroutine was sending.
// Their Publish calls have already returned, so errors are passed to the delivery reports.
func (b *Bus) sendQueued() {
	for batch := b.combiner.nextBatch(); len(batch) > 0; batch = b.combiner.nextBatch() {
		for _, out := range batch {
			err := b.send(out)
			if err == nil {
				continue
			}
			b.publishErrors.Add(1)
			if out.report != nil {
				out.report.Delivered(bus.Unknown, b.publishError(err, bus.Channel{Name: out.subject}, len(out.frame)))
			}
		}
	}
}

// send appends the routing key, if there is one, to a copy of the frame and passes the result to
// nats.go.
func (b *Bus) send(out outgoing) error {
	if out.key == "" {
		return b.sendFrame(&out, out.frame)
	}
	buffer := scratch.Get().(*[]byte)
	withKey := wire.AppendRoutingKey(append((*buffer)[:0], out.frame...), out.key)
	err := b.sendFrame(&out, withKey)
	if cap(withKey) <= maxScratch {
		*buffer = withKey
		scratch.Put(buffer)
	}
	return err
}

// checkConnected returns an error if the bus is disconnected or closed. If nc has a reconnect
// buffer, checkConnected also checks the status reported by nats.go. This status changes slightly
// before the state of the bus. In between, nats.go would buffer the frame and send it late.
func (b *Bus) checkConnected() error {
	if err := b.state.err(); err != nil {
		return err
	}
	if b.buffersOffline && b.conn().Status() != nats.CONNECTED {
		return errConnLost
	}
	return nil
}

// subjectOf returns the NATS subject for channel and the routing key to append to its frames. The
// key may be empty.
func (b *Bus) subjectOf(channel bus.Channel) (subject, key string) {
	if b.options.subjectPerMethod && channel.Key != "" {
		return b.options.prefix + channel.Subject + "." + channel.Key, ""
	}
	return b.options.prefix + channel.Subject, channel.Key
}

// sendFrame publishes frame, which consists of out.frame and the routing key, if there is one.
func (b *Bus) sendFrame(out *outgoing, frame []byte) (err error) {
	if out.report == nil {
		err = b.conn().Publish(out.subject, frame)
	} else {
		err = b.sendWithReport(out, frame)
	}
	if err == nil {
		b.published.Add(1)
	}
	return err
}

// sendWithReport registers the report of out and publishes frame with a reply subject for a
// no-responders status. A failure is reported only once: if the report has already received an
// error because the connection was lost, sendWithReport returns nil.
func (b *Bus) sendWithReport(out *outgoing, frame []byte) (err error) {
	token := b.reports.add(out.subject, out.report)
	if b.noResponders.enabled() {
		reply := b.noResponders.replySubject(token)
		err = b.conn().PublishRequest(b.chooseSubject(out, token, reply), reply, frame)
	} else {
		err = b.conn().Publish(out.subject, frame)
	}
	if err != nil && !b.reports.cancel(token) {
		return nil
	}
	return err
}

// publishError converts an error returned by nats.go into an error with a code.
func (b *Bus) publishError(err error, channel bus.Channel, size int) error {
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return errors.NewErrorf(errors.ResourceExhausted, "%w: %d bytes on channel %.200s, the limit of the nats server is %d",
			bus.ErrFrameTooLarge, size, channel, b.conn().MaxPayload())
	case errors.Is(err, nats.ErrBadSubject):
		return b.subjectError(err, channel)
	}
	if down := b.state.err(); down != nil {
		return down
	}
	// nats.go is disconnected, but the bus has not been notified yet.
	if errors.Is(err, nats.ErrReconnectBufExceeded) {
		return errConnLost
	}
	return errors.NewErrorf(errors.Unavailable, "nats bus cannot publish on channel %.200s: %w", channel, err)
}

// reservedInLine is the number of bytes that the bus reserves in each protocol line for everything
// except subjects. This includes separators, sizes, the ID of a subscription and the queue group.
// For a forwarded frame, it also includes forwardMark and the number of times that the frame has
// been forwarded.
const reservedInLine = 64

// maxToken is the maximum length of a token in a reply subject: a uint64 has at most 13 digits in
// base 36.
const maxToken = 13

// maxSubjectSize returns the maximum length of a subject in bytes. The limit leaves room for the
// reply subject of a forwarded frame (see forwardMark). If a line of the NATS protocol were too
// long, the server would close the connection.
func maxSubjectSize(maxControlLine int, inboxPrefix string) int {
	return maxControlLine - reservedInLine - 2*(len(inboxPrefix)+maxToken)
}

// maxShown is the maximum number of bytes of a channel name or subject that an error repeats. The
// number is limited because peers can choose such names.
const maxShown = 64

func (b *Bus) subjectTooLongError(subject string) error {
	return errors.NewErrorf(errors.InvalidArgument, "nats subject %q... is too long: it has %d bytes, the limit is %d: "+
		"shorten the topic, or raise max_control_line of the server and WithMaxControlLine",
		subject[:min(maxShown, len(subject))], len(subject), b.maxSubject)
}

func (b *Bus) subjectError(err error, channel bus.Channel) error {
	subject, _ := b.subjectOf(channel)
	name := channel.String()
	return errors.NewErrorf(errors.InvalidArgument, "channel %s: %q is not a valid nats subject: %w",
		name[:min(maxShown, len(name))], subject[:min(maxShown, len(subject))], err)
}
