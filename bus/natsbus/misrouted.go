package natsbus

import (
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// forwardMark marks the reply subject of a forwarded frame. The part before the mark is the
	// reply subject of the forwarding process. The part after it is the number of times the frame
	// has been forwarded, followed by the publisher's reply subject if there is one:
	//
	//	_INBOX.forwarder.token.PASSED.1._INBOX.publisher.token
	forwardMark = ".PASSED."
	// maxHops is the maximum number of times a frame is forwarded before it is dropped. If the
	// queue group has two members and only one of them serves the method, about one frame in a
	// hundred thousand is dropped.
	maxHops = 16
)

// onMisrouted handles a queue frame with a routing key for which this process has no subscriber. It
// forwards the frame to the same queue group, where the server picks a member again. If the frame
// has already been forwarded maxHops times or if forwarding fails, onMisrouted drops the frame.
//
// The cause is psrpc's subject scheme, which this bus must share. All methods of a service use one
// subject, so the NATS server cannot know which process serves which method. Frames are misrouted
// while a process starts or stops serving the methods of a service one by one. psrpc drops such
// frames, and the caller waits until its timeout.
func (b *Bus) onMisrouted(m *nats.Msg, key []byte) {
	hops, publisher := parseHops(m.Reply)
	if !b.noResponders.isPeerReply(publisher) {
		publisher = ""
	}
	if hops < maxHops && b.forward(m, hops+1, publisher) == nil {
		return
	}
	forwardReport{bus: b, subject: m.Subject, publisherReply: publisher}.Delivered(0, nil)
	b.drop(dropMisrouted, m.Subject, errors.NewErrorf(errors.FailedPrecondition,
		"no process found in the queue of subject %.200s that serves routing "+
			"key %.200q: make all processes on the subject serve the same queued methods, or give each method its own subject "+
			"(WithSubjectPerMethod, on all peers)", m.Subject, key))
}

// parseHops parses the reply subject of a frame. hops is the number of times the frame has been
// forwarded. publisher is the publisher's reply subject. It is empty if the publisher does not want
// a report.
func parseHops(reply string) (hops int, publisher string) {
	_, rest, found := strings.Cut(reply, forwardMark)
	if !found {
		return 0, reply
	}
	hopsText, publisher, _ := strings.Cut(rest, ".")
	hops, err := strconv.Atoi(hopsText)
	if err != nil || hops < 0 {
		return 0, reply
	}
	return hops, publisher
}

// forward publishes a frame to its queue group again. The new reply subject belongs to this
// process, so that a forwardReport can pass a no-responders status on to the publisher.
func (b *Bus) forward(m *nats.Msg, hops int, publisher string) error {
	if !b.conn().IsConnected() {
		return errConnLost
	}
	token := b.reports.add(m.Subject, forwardReport{bus: b, subject: m.Subject, publisherReply: publisher})
	reply := b.noResponders.replySubject(token) + forwardMark + strconv.Itoa(hops)
	if publisher != "" {
		reply += "." + publisher
	}
	err := b.conn().PublishRequest(m.Subject, reply, m.Data)
	if err != nil {
		b.reports.cancel(token)
	}
	return err
}

// forwardReport is the delivery report of a forwarded frame. It passes a no-responders status on to
// the process that published the frame.
type forwardReport struct {
	bus     *Bus
	subject string
	// publisherReply is the publisher's reply subject. It is empty if the publisher does not want a
	// report.
	publisherReply string
}

// Delivered implements bus.DeliveryReport. If there are no receivers, it sends the publisher the
// same status message that the NATS server would have sent. If the server denies the frame or the
// connection is lost, the frame is counted as dropped.
func (r forwardReport) Delivered(receivers int, err error) {
	if err != nil {
		r.bus.drop(dropForward, r.subject, errors.NewErrorf(errors.FromContext(err).Code(),
			"cannot forward a queue frame to another process: %w", err))
		return
	}
	if receivers != 0 || r.publisherReply == "" {
		return
	}
	_ = r.bus.conn().PublishMsg(&nats.Msg{Subject: r.publisherReply, Header: nats.Header{statusHeader: {noRespondersStatus}}})
}
