package natsbus

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus/internal/flush"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus/internal/reports"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus/internal/sendqueue"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/logthrottle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

var errUnconfirmed = errors.NewErrorf(errors.Unavailable, "the connection to the nats server was lost before the server "+
	"confirmed the frame: it may or may not have been delivered")

// maxScratch is the maximum capacity, in bytes, of a buffer that is returned to the scratch pool.
const maxScratch = 64 << 10

// scratch contains buffers in which a routing key is appended to a copy of a frame. The frame
// itself must not be modified, because other goroutines may be reading it. A buffer can be reused
// immediately, because nats.go copies what it publishes.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// publisher publishes the frames of a bus and passes the server's answers to their delivery
// reports. All methods are safe for concurrent use.
//
// It has no mutex of its own: queue, reports and directRoutes each have one, and hold it for a few
// instructions only. No method calls a delivery report while one of them is held.
type publisher struct {
	telemetry    *telemetry
	conn         *connection
	subjects     *subjects
	noResponders *noResponders
	// reports contains the delivery reports of frames that the server has not confirmed yet.
	reports *reports.Pending
	// queue sends the frames of concurrent calls of publish.
	queue        *sendqueue.Queue[outgoing]
	directRoutes directRoutes
	// deniedLog throttles the events for denied publications. Only nats.go's error handler uses it.
	deniedLog logthrottle.Throttle
	// sendFrame and sendAgain are the method values of send and sendIfConnected. The reports of
	// repeated frames share them, so that no method value is allocated for each frame.
	sendFrame, sendAgain func(outgoing) error
}

func newPublisher(
	telemetry *telemetry, conn *connection, subjects *subjects, noResponders *noResponders, sampleTimeout time.Duration,
) *publisher {
	p := &publisher{
		telemetry: telemetry, conn: conn, subjects: subjects, noResponders: noResponders,
		reports: reports.New(), directRoutes: directRoutes{sampleTimeout: sampleTimeout},
	}
	p.sendFrame, p.sendAgain = p.send, p.sendIfConnected
	p.queue = sendqueue.New(p.sendFrame, p.onLost)
	return p
}

// publish implements Bus.Publish, which has already checked the context.
func (p *publisher) publish(channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	if err := p.conn.check(); err != nil {
		return err
	}
	subject, key := p.subjects.of(channel)
	if err := p.validate(channel, subject, len(frame)+wire.SizeRoutingKey(key)); err != nil {
		return err
	}
	out := p.repeatable(outgoing{subject: subject, key: key, frame: frame, report: report})
	if err := p.queue.Send(out); err != nil {
		return p.publishError(err, channel, len(frame))
	}
	return nil
}

// validate performs the same checks as nats.go and also limits the length of the subject. If
// another goroutine sends the frame later, publish can thus still return these errors.
func (p *publisher) validate(channel bus.Channel, subject string, size int) error {
	if limit := p.conn.maxPayload.Load(); limit > 0 && int64(size) > limit {
		// The server may have announced a new limit.
		p.conn.maxPayload.Store(p.conn.get().MaxPayload())
		if limit = p.conn.maxPayload.Load(); limit > 0 && int64(size) > limit {
			return p.publishError(nats.ErrMaxPayload, channel, size)
		}
	}
	if err := p.subjects.checkSize(subject); err != nil {
		return err
	}
	if !canPublish(subject) {
		return p.publishError(nats.ErrBadSubject, channel, size)
	}
	return nil
}

// repeatable prepares a frame so that it can be published again. If the bus is connected to a
// server of a cluster, the returned frame has a clusterReport. Frames without a report and large
// frames are returned unchanged.
func (p *publisher) repeatable(out outgoing) outgoing {
	if out.report != nil && len(out.frame) <= maxRepeated && p.conn.clustered.Load() {
		out.report = &clusterReport{send: p.sendAgain, out: out}
	}
	return out
}

// onLost is called if a frame that another goroutine has queued could not be sent. The call to
// publish that queued the frame has already returned, so the error is passed to the delivery
// report.
func (p *publisher) onLost(out outgoing, err error) {
	p.telemetry.PublishErrors.Add(1)
	if out.report != nil {
		out.report.Delivered(bus.Unknown, p.publishError(err, bus.Channel{Name: out.subject}, len(out.frame)))
	}
}

// sendIfConnected is like send, but fails if the bus is disconnected or closed.
func (p *publisher) sendIfConnected(out outgoing) error {
	if err := p.conn.check(); err != nil {
		return err
	}
	return p.send(out)
}

// send appends the routing key, if there is one, to a copy of the frame and passes the result to
// nats.go.
func (p *publisher) send(out outgoing) error {
	if out.key == "" {
		return p.sendBytes(&out, out.frame)
	}
	buffer := scratch.Get().(*[]byte)
	withKey := wire.AppendRoutingKey(append((*buffer)[:0], out.frame...), out.key)
	err := p.sendBytes(&out, withKey)
	if cap(withKey) <= maxScratch {
		*buffer = withKey
		scratch.Put(buffer)
	}
	return err
}

// sendBytes publishes frame, which consists of out.frame and the routing key, if there is one.
func (p *publisher) sendBytes(out *outgoing, frame []byte) (err error) {
	if out.report == nil {
		err = p.conn.get().Publish(out.subject, frame)
	} else {
		err = p.sendWithReport(out, frame)
	}
	if err == nil {
		p.telemetry.Published.Add(1)
	}
	return err
}

// sendWithReport registers the report of out and publishes frame with a reply subject for a
// no-responders status. A failure is reported only once: if the report has already received an
// error because the connection was lost, sendWithReport returns nil.
func (p *publisher) sendWithReport(out *outgoing, frame []byte) (err error) {
	token := p.reports.Add(out.subject, out.report)
	if p.noResponders.enabled() {
		reply := p.noResponders.replySubject(token)
		err = p.conn.get().PublishRequest(p.chooseSubject(out, token, reply), reply, frame)
	} else {
		err = p.conn.get().Publish(out.subject, frame)
	}
	if err != nil && !p.reports.Cancel(token) {
		return nil
	}
	return err
}

// chooseSubject returns the subject on which out must be published: the subject of the queue or the
// private subject. If out is a sample, chooseSubject records that it is sent. If it returns the
// private subject, it replaces the delivery report of out with a directReport. token identifies the
// delivery report, and reply is the reply subject of out.
func (p *publisher) chooseSubject(out *outgoing, token uint64, reply string) string {
	route := p.directRoutes.find(out.subject, out.key)
	switch {
	case route == nil:
	case isSample(reply):
		route.sent(token)
	case route.open.Load() && len(out.frame) <= maxRepeated && !p.conn.privateDenied.Load():
		p.reports.Replace(token, route.private, &directReport{send: p.sendFrame, route: route, out: *out})
		return route.private
	}
	return out.subject
}

// publishError converts an error returned by nats.go into an error with a code.
func (p *publisher) publishError(err error, channel bus.Channel, size int) error {
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return errors.NewErrorf(errors.ResourceExhausted, "%w: %d bytes on channel %.200s, the limit of the nats server is %d",
			bus.ErrFrameTooLarge, size, channel, p.conn.get().MaxPayload())
	case errors.Is(err, nats.ErrBadSubject):
		return p.subjects.invalidError(err, channel)
	}
	if down := p.conn.state.err(); down != nil {
		return down
	}
	// nats.go is disconnected, but the bus has not been notified yet.
	if errors.Is(err, nats.ErrReconnectBufExceeded) {
		return flush.ErrConnLost
	}
	return errors.NewErrorf(errors.Unavailable, "nats bus cannot publish on channel %.200s: %w", channel, err)
}

// onReply handles a message that has arrived on the reply subject of a frame.
func (p *publisher) onReply(m *nats.Msg) {
	token, err := p.noResponders.parseToken(m.Subject)
	if err != nil {
		return
	}
	if !isStatus(m) {
		// The message acknowledges a sample, or it comes from JetStream, which acknowledges a frame
		// if a stream has stored it. onSampleAcknowledged tells them apart.
		p.onSampleAcknowledged(token, m.Data)
		return
	}
	report := p.reports.Remove(token)
	switch {
	case report == nil:
	case m.Header.Get(reasonHeader) == misroutedReason:
		report.Delivered(0, bus.ErrMisrouted)
	default:
		report.Delivered(0, nil)
	}
}

// onSampleAcknowledged handles a message that has arrived on the reply subject of a frame and is
// not a no-responders status. token identifies the frame. If the message acknowledges a sample, it
// consists of the sample's routing key.
func (p *publisher) onSampleAcknowledged(token uint64, message []byte) {
	subject, key := p.reports.Subject(token), string(message)
	private, ok := p.subjects.private(subject, key)
	if subject == "" || !ok {
		return
	}
	route := p.directRoutes.find(subject, key)
	if route == nil {
		route = p.directRoutes.add(queueKey{subject: subject, routingKey: key}, private)
	}
	if route != nil {
		route.acknowledge(token)
	}
}

// onDenied fails all pending reports of frames published on subject, because the error does not
// identify the denied frame. The other frames have been denied as well: the server checks only the
// subject. If subject is private, the bus stops using private subjects.
func (p *publisher) onDenied(subject string, err error) {
	denied := p.reports.RemoveSubject(subject)
	if p.subjects.isPrivate(subject) {
		p.conn.onPrivateDenied(err)
		for _, report := range denied {
			report.Delivered(bus.Unknown, err)
		}
		return
	}
	p.telemetry.PublishErrors.Add(uint64(len(denied)))
	for _, report := range denied {
		report.Delivered(bus.Unknown, permissionError(err))
	}
	if frames, ok := p.deniedLog.Allow(logInterval); ok {
		p.telemetry.events.Dropped(subject, frames, permissionError(err))
	}
}

// failReports passes an error to all pending reports, because the connection has been lost.
func (p *publisher) failReports() {
	failed := p.reports.FailAll()
	p.telemetry.PublishErrors.Add(uint64(len(failed)))
	for _, report := range failed {
		report.Delivered(bus.Unknown, errUnconfirmed)
	}
}
