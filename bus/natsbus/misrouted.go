package natsbus

import (
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus/internal/flush"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus/internal/trial"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// psrpc uses one subject for all queued methods of a service, and one queue group for all processes
// that serve any of them. This bus must do the same. The NATS server may therefore give a frame to
// a process that does not serve its method: the frame is misrouted. A psrpc process drops such a
// frame.
//
// This bus forwards a misrouted frame to the private subject of its routing key. That subject leads
// to a dynpsrpc process that serves the method (see subjects). If there is none, it returns the
// frame to the queue group, because psrpc processes may serve the method. The NATS server then
// picks a member again, until the frame reaches a process that serves the method or has been
// forwarded maxHops times (see package trial).

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

// forwarder forwards misrouted frames, which this process has received although it does not serve
// their methods. Its methods are safe for concurrent use. It has no mutex of its own: retained and
// trials each have one, and hold it for a few instructions only.
type forwarder struct {
	telemetry    *telemetry
	conn         *connection
	subjects     *subjects
	publisher    *publisher
	noResponders *noResponders
	retained     retained
	trials       *trial.Trials[*misrouted]
}

// newForwarder returns a forwarder. trialTimeout is the timeout of its trials.
func newForwarder(p *publisher, trialTimeout time.Duration) *forwarder {
	return &forwarder{
		telemetry: p.telemetry, conn: p.conn, subjects: p.subjects, publisher: p, noResponders: p.noResponders,
		trials: trial.New[*misrouted](trialTimeout),
	}
}

// misrouted is a frame that this process has received although it does not serve the frame's
// method.
type misrouted struct {
	retainedFrame

	forwarder *forwarder
	// key contains the subject of the queue group, and the routing key.
	key trial.Key
	// hops is the number of times that the frame has been forwarded.
	hops int
	// publisher is the publisher's reply subject. It is empty if the publisher does not want a
	// report.
	publisher string
	// trial is the state of the frame in a trial, which finds out whether psrpc processes serve the
	// routing key.
	trial trial.Membership
}

// Key, Size and Membership implement trial.Frame.
func (f *misrouted) Key() trial.Key                { return f.key }
func (f *misrouted) Size() int                     { return f.size }
func (f *misrouted) Membership() *trial.Membership { return &f.trial }

// onMisrouted handles a queue frame with a routing key for which this process has no subscriber.
// subject is the subject of the queue. The frame may have arrived on the private subject, if the
// subscriber has just left.
func (w *forwarder) onMisrouted(m *nats.Msg, key, subject string) {
	source, hops, publisher := parseReply(m.Reply)
	source, publisher = w.noResponders.peerReply(source), w.noResponders.peerReply(publisher)
	f := &misrouted{
		retainedFrame: retainedFrame{bytes: m.Data, size: len(m.Data)}, forwarder: w,
		key: trial.Key{Subject: subject, RoutingKey: key}, hops: hops, publisher: publisher,
	}
	switch {
	case hops >= maxHops && source == "":
		f.drop()
	case hops >= maxHops:
		w.noResponders.sendStatus(source, "")
	case source != "" && m.Sub.Subject == subject:
		// The frame has returned to the queue group. If no process receives the frame now, the
		// process that forwarded it first gets a no-responders status.
		if err := w.publish(subject, source, hops+1, publisher, m.Data); err != nil {
			f.lose(err)
		}
	default:
		w.retained.add(&f.retainedFrame)
		w.forward(f)
	}
}

// parseReply parses the reply subject of a frame. source is the reply subject of the process that
// forwarded the frame first, and hops is the number of times the frame has been forwarded.
// publisher is the publisher's reply subject. It is empty if the publisher does not want a report.
func parseReply(reply string) (source string, hops int, publisher string) {
	source, rest, found := strings.Cut(reply, forwardMark)
	hopsText, publisher, _ := strings.Cut(rest, ".")
	hops, err := strconv.Atoi(hopsText)
	if !found || err != nil || hops < 0 {
		return "", 0, reply
	}
	return source, hops, publisher
}

// publish publishes a forwarded frame. source is the reply subject of the process that forwarded
// the frame first. hops is the number of times the frame has been forwarded, including this one.
func (w *forwarder) publish(subject, source string, hops int, publisher string, frame []byte) error {
	if !w.conn.get().IsConnected() {
		return flush.ErrConnLost
	}
	reply := source + forwardMark + strconv.Itoa(hops)
	if publisher != "" {
		reply += "." + publisher
	}
	return w.conn.get().PublishRequest(subject, reply, frame)
}

// send publishes the frame of f on subject. report receives zero receivers if no process gets the
// frame. If the frame cannot be published, it is counted as dropped.
func (w *forwarder) send(f *misrouted, subject string, report bus.DeliveryReport) {
	frame := w.retained.frame(&f.retainedFrame)
	if frame == nil {
		f.drop()
		return
	}
	f.hops++
	token := w.publisher.reports.Add(subject, report)
	err := w.publish(subject, w.noResponders.replySubject(token), f.hops, f.publisher, frame)
	if err != nil && w.publisher.reports.Cancel(token) {
		f.lose(err)
	}
}

// forward sends f to a dynpsrpc process that serves the frame's routing key. If the private subject
// cannot be used, forward returns f to the queue group.
func (w *forwarder) forward(f *misrouted) {
	private, ok := w.subjects.private(f.key.Subject, f.key.RoutingKey)
	if !ok || w.conn.privateDenied.Load() || !w.noResponders.enabled() {
		// The bus cannot use the private subject, or would not notice if no process received the
		// frame there.
		w.returnToGroup(f)
		return
	}
	w.send(f, private, (*forwardReport)(f))
}

// forwardReport is the delivery report of a frame that was sent to a private subject.
type forwardReport misrouted

// Delivered implements bus.DeliveryReport.
func (r *forwardReport) Delivered(receivers int, err error) {
	f := (*misrouted)(r)
	switch {
	case isDenied(err):
		f.forwarder.returnToGroup(f)
	case err != nil:
		// The connection was lost, and a process may have received the frame.
		f.lose(err)
	case receivers == 0:
		f.forwarder.onUnserved(f)
	}
}

// onUnserved handles a frame whose routing key no dynpsrpc process serves.
func (w *forwarder) onUnserved(f *misrouted) {
	switch w.trials.Decide(f, w.onTrialTimeout) {
	case trial.Return:
		w.returnToGroup(f)
	case trial.Drop:
		w.noResponders.sendStatus(f.publisher, "")
	case trial.Wait:
	}
}

// onTrialTimeout is called if a frame of a trial has not come back in time, which means that the
// trial has succeeded. It sends the frames that were waiting for the result back to the queue
// group.
func (w *forwarder) onTrialTimeout(f *misrouted) {
	for _, waiting := range w.trials.Succeed(f) {
		w.returnToGroup(waiting)
	}
}

// returnToGroup sends f to the queue group again.
func (w *forwarder) returnToGroup(f *misrouted) { w.send(f, f.key.Subject, (*returnReport)(f)) }

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
		f.forwarder.onCameBack(f)
	}
}

// onCameBack handles a frame that no process of the queue group has taken, and notifies its
// publisher. If other processes may serve the routing key, the frame counts as dropped, and
// otherwise as a frame without receivers. If a trial has now failed, the frames that were waiting
// for its result also count as frames without receivers.
func (w *forwarder) onCameBack(f *misrouted) {
	served, unserved := w.trials.CameBack(f)
	if served || w.conn.privateDenied.Load() {
		f.drop()
	} else {
		w.noResponders.sendStatus(f.publisher, "")
	}
	for _, waiting := range unserved {
		w.noResponders.sendStatus(waiting.publisher, "")
	}
}

// drop drops f and notifies its publisher. No process that can serve f has received it.
func (f *misrouted) drop() {
	w := f.forwarder
	w.noResponders.sendStatus(f.publisher, misroutedReason)
	w.telemetry.drop(dropMisrouted, f.key.Subject, errors.NewErrorf(errors.FailedPrecondition,
		"none of the processes that got a frame in the queue of subject %.200s serves routing key %.200q: if processes of psrpc "+
			"are in the queue or the server denies the private subjects of queues (%s>), all processes on the subject must "+
			"serve the same queued methods; otherwise give each method its own subject (WithSubjectPerMethod, on all peers)",
		f.key.Subject, f.key.RoutingKey, w.subjects.privatePrefix))
}

// lose counts f as dropped because it could not be published, or because the connection was lost
// before the server confirmed it.
func (f *misrouted) lose(err error) {
	f.forwarder.telemetry.drop(dropForward, f.key.Subject, errors.NewErrorf(errors.FromContext(err).Code(),
		"cannot forward a queue frame to another process: %w", err))
}
