package natsbus

import (
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	tokenBase = 36
	// statusHeader and noRespondersStatus are how the server says that nobody listens on a subject. It does so only to who has
	// published there with a reply subject.
	statusHeader       = "Status"
	noRespondersStatus = "503"
)

// noResponders is how the bus learns that nobody listens to a frame: frames with a report have a reply subject below inbox.
type noResponders struct {
	inboxPrefix string
	sub         *nats.Subscription // to what is below inbox
	supported   atomic.Bool        // the server can tell
	denied      atomic.Bool        // the server does not permit sub
}

// enabled reports whether the server tells.
func (s *noResponders) enabled() bool { return s.supported.Load() && !s.denied.Load() }

// readServerInfo asks what the server that nc is connected to is able to do.
func (b *Bus) readServerInfo() {
	b.maxPayload.Store(b.nc.MaxPayload())
	supported := b.nc.HeadersSupported()
	b.noResponders.supported.Store(supported)
	if !supported {
		b.options.logger.Warn("nats bus: the server does not support headers, so calls that nobody listens to end by their timeout")
	}
}

func (b *Bus) subscribeInbox() (err error) {
	b.noResponders.sub, err = b.nc.ChanSubscribe(b.noResponders.inboxSubject(), b.inbound)
	if err != nil {
		return errors.NewErrorf(errors.Unavailable, "nats bus: cannot subscribe to its inbox: %w", err)
	}
	return nil
}

func (s *noResponders) unsubscribe() {
	if s.sub != nil {
		_ = s.sub.Unsubscribe() // fails if the connection was closed
	}
}

// inboxSubject is where the server's answers come.
func (s *noResponders) inboxSubject() string { return s.inboxPrefix + ">" }

// replySubject returns the subject on which the server answers a frame that has this token.
func (s *noResponders) replySubject(token uint64) string {
	var buffer [64]byte // more than most need
	return string(strconv.AppendUint(append(buffer[:0], s.inboxPrefix...), token, tokenBase))
}

// onNoResponders takes an answer to a frame with a report.
func (b *Bus) onNoResponders(m *nats.Msg) {
	if m.Header.Get(statusHeader) != noRespondersStatus {
		return // such as the word of a stream that it has stored the frame
	}
	tokenText, _, _ := strings.Cut(m.Subject[len(b.noResponders.inboxPrefix):], ".")
	token, err := strconv.ParseUint(tokenText, tokenBase, 64)
	if err != nil {
		return
	}
	if report := b.reports.remove(token); report != nil {
		report.Delivered(0, nil)
	}
}

// forwardReport is the report of a frame that was passed on: it tells the one who published it.
type forwardReport struct {
	nc             *nats.Conn
	publisherReply string
}

// Published says to the publisher, as the server would, that nobody listens.
func (r forwardReport) Delivered(receivers int, err error) {
	if receivers != 0 || err != nil || r.publisherReply == "" {
		return
	}
	_ = r.nc.PublishMsg(&nats.Msg{Subject: r.publisherReply, Header: nats.Header{statusHeader: {noRespondersStatus}}})
}
