package natsbus

import (
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// tokenBase is the number base in which tokens are written in reply subjects.
	tokenBase = 36
	// statusHeader and noRespondersStatus identify the server's answer to a message with a reply
	// subject that was published on a subject without subscribers.
	statusHeader       = "Status"
	noRespondersStatus = "503"
)

// noResponders receives the server's "no responders" statuses, so that a caller learns within one
// round trip that no server is running instead of waiting for its timeout.
//
// The server sends the status only for messages with a reply subject, and only if headers are
// supported on both sides. Each frame with a delivery report has the reply subject inboxPrefix +
// token, where the token identifies the pending report. One wildcard subscription receives all
// statuses, so a publication needs no subscription of its own.
type noResponders struct {
	inboxPrefix string
	sub         *nats.Subscription // to inboxPrefix + ">"
	supported   atomic.Bool        // the server supports headers
	denied      atomic.Bool        // the server does not permit sub
}

// enabled reports whether the server can send statuses to this bus.
func (n *noResponders) enabled() bool { return n.supported.Load() && !n.denied.Load() }

func (n *noResponders) unsubscribe() {
	if n.sub != nil {
		_ = n.sub.Unsubscribe() // fails if the connection was closed
	}
}

// inboxSubject returns the subject of the inbox subscription.
func (n *noResponders) inboxSubject() string { return n.inboxPrefix + ">" }

// replySubject returns the reply subject of a frame with this token.
func (n *noResponders) replySubject(token uint64) string {
	var buffer [64]byte // long enough for most inbox prefixes, so that only the string is allocated
	return string(strconv.AppendUint(append(buffer[:0], n.inboxPrefix...), token, tokenBase))
}

// readServerInfo reads what the connected server has announced: its maximum payload and whether it
// supports headers. Both may change with a reconnect to another server.
func (b *Bus) readServerInfo() {
	b.maxPayload.Store(b.nc.MaxPayload())
	supported := b.nc.HeadersSupported()
	b.noResponders.supported.Store(supported)
	if !supported {
		b.options.logger.Warn("nats bus: the server does not support headers and cannot report missing subscribers: calls " +
			"without a server end at their timeout")
	}
}

func (b *Bus) subscribeInbox() (err error) {
	b.noResponders.sub, err = b.nc.ChanSubscribe(b.noResponders.inboxSubject(), b.inbound)
	if err != nil {
		return errors.NewErrorf(errors.Unavailable, "nats bus: cannot subscribe to its inbox: %w", err)
	}
	return nil
}

// onNoResponders handles a message to the inbox.
func (b *Bus) onNoResponders(m *nats.Msg) {
	if m.Header.Get(statusHeader) != noRespondersStatus {
		return // for example the acknowledgment of a JetStream stream that has stored the frame
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
