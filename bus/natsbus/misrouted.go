package natsbus

import (
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// psrpc uses one subject for all queued methods of a service, and one queue group for all processes
// that serve any of them. This bus must do the same. The NATS server may therefore give a frame to
// a process that does not serve its method: the frame is misrouted. A psrpc process drops such a
// frame.
//
// This bus forwards it to the private subject of its routing key, which leads to a dynpsrpc process
// that serves the method (see private.go). If there is none, it returns the frame to the queue
// group, because psrpc processes may serve the method. The NATS server then picks a member again,
// until the frame reaches a process that serves the method or has been forwarded maxHops times (see
// unserved.go).

const (
	// forwardMark marks the reply subject of a forwarded frame. The part before the mark is the
	// reply subject of the process that forwarded the frame first. The part after it is the number
	// of times the frame has been forwarded, followed by the publisher's reply subject if there is
	// one:
	//
	//	_INBOX.forwarder.token.PASSED.1._INBOX.publisher.token
	forwardMark = ".PASSED."
	// maxHops is the maximum number of times a frame is forwarded before it is dropped. If half the
	// members of the queue group serve the method, about one frame in a hundred thousand is
	// dropped.
	maxHops = 16
)

// misrouted is a frame that this process has received although it does not serve the frame's
// method.
type misrouted struct {
	bus *Bus
	// subject is the subject of the queue group, and key is the routing key.
	subject, key string
	// frame contains the bytes of the frame. It is nil if Bus.retained has discarded them. The
	// mutex of Bus.retained guards the field.
	frame []byte
	// size is the size of the frame in bytes.
	size int
	// hops is the number of times that the frame has been forwarded.
	hops int
	// publisher is the publisher's reply subject. It is empty if the publisher does not want a
	// report.
	publisher string
	// trial is nil unless the frame belongs to a trial, which finds out whether psrpc processes
	// serve the routing key. timer fires if the frame has not come back in time. See unserved.go.
	trial *trial
	timer *time.Timer
}

// onMisrouted handles a queue frame with a routing key for which this process has no subscriber.
// subject is the subject of the queue. The frame may have arrived on the private subject, if the
// subscriber has just left.
func (b *Bus) onMisrouted(m *nats.Msg, key, subject string) {
	forwarder, hops, publisher := parseReply(m.Reply)
	forwarder, publisher = b.noResponders.peerReply(forwarder), b.noResponders.peerReply(publisher)
	f := &misrouted{bus: b, subject: subject, key: key, frame: m.Data, size: len(m.Data), hops: hops, publisher: publisher}
	switch {
	case hops >= maxHops && forwarder == "":
		f.drop()
	case hops >= maxHops:
		b.sendStatus(forwarder, "")
	case forwarder != "" && m.Sub.Subject == subject:
		// The frame has returned to the queue group. If no process receives the frame now, the
		// process that forwarded it first gets a no-responders status.
		if err := b.publishForwarded(subject, forwarder, hops+1, publisher, m.Data); err != nil {
			f.lose(err)
		}
	default:
		b.retained.add(f)
		b.forward(f)
	}
}

// parseReply parses the reply subject of a frame. forwarder is the reply subject of the process
// that forwarded the frame first, and hops is the number of times the frame has been forwarded.
// publisher is the publisher's reply subject. It is empty if the publisher does not want a report.
func parseReply(reply string) (forwarder string, hops int, publisher string) {
	forwarder, rest, found := strings.Cut(reply, forwardMark)
	hopsText, publisher, _ := strings.Cut(rest, ".")
	hops, err := strconv.Atoi(hopsText)
	if !found || err != nil || hops < 0 {
		return "", 0, reply
	}
	return forwarder, hops, publisher
}

// publishForwarded publishes a forwarded frame. hops is the number of times the frame has been
// forwarded, including this one.
func (b *Bus) publishForwarded(subject, forwarder string, hops int, publisher string, frame []byte) error {
	if !b.conn().IsConnected() {
		return errConnLost
	}
	reply := forwarder + forwardMark + strconv.Itoa(hops)
	if publisher != "" {
		reply += "." + publisher
	}
	return b.conn().PublishRequest(subject, reply, frame)
}

// send publishes the frame of f on subject. report receives zero receivers if no process gets the
// frame. If the frame cannot be published, it is counted as dropped.
func (f *misrouted) send(subject string, report bus.DeliveryReport) {
	b := f.bus
	frame := b.retained.frame(f)
	if frame == nil {
		f.drop()
		return
	}
	f.hops++
	token := b.reports.add(subject, report)
	err := b.publishForwarded(subject, b.noResponders.replySubject(token), f.hops, f.publisher, frame)
	if err != nil && b.reports.cancel(token) {
		f.lose(err)
	}
}

// forward sends f to a dynpsrpc process that serves the frame's routing key. If the private subject
// cannot be used, forward returns f to the queue group.
func (b *Bus) forward(f *misrouted) {
	private, ok := b.privateSubject(f.subject, f.key)
	if !ok || b.privateDenied.Load() || !b.noResponders.enabled() {
		// The private subject cannot be used, or the server would not report that no process has
		// received the frame.
		b.returnToGroup(f)
		return
	}
	f.send(private, (*forwardReport)(f))
}

// forwardReport is the delivery report of a frame that was sent to a private subject.
type forwardReport misrouted

// Delivered implements bus.DeliveryReport.
func (r *forwardReport) Delivered(receivers int, err error) {
	f := (*misrouted)(r)
	switch {
	case isDenied(err):
		f.bus.returnToGroup(f)
	case err != nil:
		// The connection was lost, and a process may have received the frame.
		f.lose(err)
	case receivers == 0:
		f.bus.onUnserved(f)
	}
}

// returnToGroup sends f to the queue group again.
func (b *Bus) returnToGroup(f *misrouted) { f.send(f.subject, (*returnReport)(f)) }

// returnReport is the delivery report of a frame that has returned to the queue group. It receives
// zero receivers if the frame has been forwarded too often without reaching a process that serves
// its method.
type returnReport misrouted

// Delivered implements bus.DeliveryReport.
func (r *returnReport) Delivered(receivers int, err error) {
	f := (*misrouted)(r)
	switch {
	case err != nil:
		f.lose(err)
	case receivers == 0:
		f.bus.onCameBack(f)
	}
}

// drop drops a frame that other processes might have served, and notifies its publisher.
func (f *misrouted) drop() {
	f.bus.sendStatus(f.publisher, misroutedReason)
	f.bus.drop(dropMisrouted, f.subject, errors.NewErrorf(errors.FailedPrecondition,
		"none of the processes that got a frame in the queue of subject %.200s serves routing key %.200q: if processes of psrpc "+
			"are in the queue or the server denies the private subjects of queues (%s>), all processes on the subject must "+
			"serve the same queued methods; otherwise give each method its own subject (WithSubjectPerMethod, on all peers)",
		f.subject, f.key, f.bus.privatePrefix))
}

// lose counts f as dropped because it could not be published, or because the connection was lost
// before the server confirmed it.
func (f *misrouted) lose(err error) {
	f.bus.drop(dropForward, f.subject, errors.NewErrorf(errors.FromContext(err).Code(),
		"cannot forward a queue frame to another process: %w", err))
}
