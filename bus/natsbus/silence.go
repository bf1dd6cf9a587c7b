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
	// statusHeader and nobodyStatus are how the server says that nobody listens on a subject. It does so only to who has
	// published there with a reply subject.
	statusHeader = "Status"
	nobodyStatus = "503"
)

// silence is how the bus learns that nobody listens to a frame: frames with a report have a reply subject below inbox.
type silence struct {
	inbox   string
	sub     *nats.Subscription // to what is below inbox
	able    atomic.Bool        // the server can tell
	refused atomic.Bool        // the server does not permit sub
}

// known reports whether the server tells.
func (s *silence) known() bool { return s.able.Load() && !s.refused.Load() }

// learnServer asks what the server that nc is connected to is able to do.
func (b *Bus) learnServer() {
	b.maxPayload.Store(b.nc.MaxPayload())
	able := b.nc.HeadersSupported()
	b.silence.able.Store(able)
	if !able {
		b.options.logger.Warn("nats bus: the server does not support headers, so calls that nobody listens to end by their timeout")
	}
}

func (b *Bus) listenForSilence() (err error) {
	b.silence.sub, err = b.nc.ChanSubscribe(b.silence.subject(), b.inbound)
	if err != nil {
		return errors.NewErrorf(errors.Unavailable, "nats bus: cannot subscribe to its inbox: %w", err)
	}
	return nil
}

func (s *silence) end() {
	if s.sub != nil {
		_ = s.sub.Unsubscribe() // fails if the connection was closed
	}
}

// subject is where the server's answers come.
func (s *silence) subject() string { return s.inbox + ">" }

// reply returns the subject on which the server answers a frame that has this token.
func (s *silence) reply(token uint64) string {
	var buffer [64]byte // more than most need
	return string(strconv.AppendUint(append(buffer[:0], s.inbox...), token, tokenBase))
}

// nobodyListens takes an answer to a frame with a report.
func (b *Bus) nobodyListens(m *nats.Msg) {
	if m.Header.Get(statusHeader) != nobodyStatus {
		return // such as the word of a stream that it has stored the frame
	}
	number, _, _ := strings.Cut(m.Subject[len(b.silence.inbox):], ".")
	token, err := strconv.ParseUint(number, tokenBase, 64)
	if err != nil {
		return
	}
	if report := b.reports.take(token); report != nil {
		report.Delivered(0, nil)
	}
}

// relay is the report of a frame that was passed on: it tells the one who published it.
type relay struct {
	nc    *nats.Conn
	reply string
}

// Published says to the publisher, as the server would, that nobody listens.
func (r relay) Delivered(receivers int, err error) {
	if receivers != 0 || err != nil || r.reply == "" {
		return
	}
	_ = r.nc.PublishMsg(&nats.Msg{Subject: r.reply, Header: nats.Header{statusHeader: {nobodyStatus}}})
}
