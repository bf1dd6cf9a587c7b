package natsbus

import (
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// forwardMark stands in the reply subject of a frame that was passed on. Before it is where the server says that nobody
	// listens, behind it how often the frame was passed on, and the reply subject that it came with:
	//
	//	_INBOX.passer.token.PASSED.1._INBOX.publisher.token
	forwardMark = ".PASSED."
	// maxHops is how often a frame is passed on before it is dropped. With two processes in the queue, one of which has
	// a member for the frame, that happens to one in a hundred thousand.
	maxHops = 16
)

// onMisrouted takes a frame of a queue that the server gave to this process though it has no member for it, and passes it on:
// back to the queue, where another process may get it. So one that starts or stops to serve the methods of a service,
// one after the other, loses none. What nobody takes is dropped in the end.
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
			Err: errors.NewErrorf(errors.FailedPrecondition, "a frame with routing key %q came to processes only that have no "+
				"member for it in the queue of subject %s: let all processes that serve the subject serve the same queued methods, "+
				"or give each method a subject of its own (WithSubjectPerMethod, for all peers)", key, m.Subject),
		})
	}
}

// parseHops returns how often a frame with this reply subject was passed on, and the publisher's reply subject, which
// may be empty.
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
