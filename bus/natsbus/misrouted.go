package natsbus

import (
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// forwardMark marks the reply subject of a forwarded frame. The part before it is the reply
	// subject of the forwarding process. The part after it is the number of hops, followed by the
	// publisher's reply subject if there is one:
	//
	//	_INBOX.forwarder.token.PASSED.1._INBOX.publisher.token
	forwardMark = ".PASSED."
	// maxHops is how often a frame is forwarded before it is dropped. With two processes in the
	// queue group, one of which serves the method, one frame in a hundred thousand is dropped.
	maxHops = 16
)

// onMisrouted handles a frame that the server gave to this member of the queue group although the
// process has no subscriber for its routing key. It forwards the frame to the same queue group,
// where the server picks a member again, or drops it after maxHops.
//
// Such frames exist because psrpc, whose subjects this bus must share, puts all methods of a
// service on one subject: the NATS server cannot know which process serves which method. They occur
// whenever a process starts or stops serving the methods of a service one after the other. psrpc
// drops these frames, and the caller waits for its timeout.
func (b *Bus) onMisrouted(m *nats.Msg, key []byte) {
	hops, publisher := parseHops(m.Reply)
	if hops < maxHops && b.forward(m, hops+1, publisher) == nil {
		return
	}
	forwardReport{nc: b.nc, publisherReply: publisher}.Delivered(0, nil)
	b.dropped.Add(1)
	if frames, ok := b.misroutedLog.allow(); ok {
		b.events.Put(bus.Event{
			Kind: bus.Dropped, Channel: m.Subject, Frames: frames,
			Err: errors.NewErrorf(errors.FailedPrecondition, "no process found in the queue of subject %s that serves routing "+
				"key %q: make all processes on the subject serve the same queued methods, or give each method its own subject "+
				"(WithSubjectPerMethod, on all peers)", m.Subject, key),
		})
	}
}

// parseHops returns how often a frame with this reply subject has been forwarded, and the
// publisher's reply subject, which is empty if the publisher wants no report.
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

// forward publishes a frame to its queue group again. Its reply subject belongs to this process, so
// that a no-responders status can be passed on to the publisher by a forwardReport.
func (b *Bus) forward(m *nats.Msg, hops int, publisher string) error {
	if !b.nc.IsConnected() {
		return errConnLost
	}
	token := b.reports.add(m.Subject, forwardReport{nc: b.nc, publisherReply: publisher})
	reply := b.noResponders.replySubject(token) + forwardMark + strconv.Itoa(hops)
	if publisher != "" {
		reply += "." + publisher
	}
	err := b.nc.PublishRequest(m.Subject, reply, m.Data)
	if err != nil {
		b.reports.cancel(token)
	}
	return err
}

// forwardReport is the delivery report of a forwarded frame. It passes a no-responders status on to
// the process that published the frame.
type forwardReport struct {
	nc             *nats.Conn
	publisherReply string // may be empty
}

// Delivered implements bus.DeliveryReport. If there are no receivers, it sends the publisher the
// status message that the NATS server would have sent.
func (r forwardReport) Delivered(receivers int, err error) {
	if receivers != 0 || err != nil || r.publisherReply == "" {
		return
	}
	_ = r.nc.PublishMsg(&nats.Msg{Subject: r.publisherReply, Header: nats.Header{statusHeader: {noRespondersStatus}}})
}
