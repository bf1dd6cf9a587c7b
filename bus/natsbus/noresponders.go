package natsbus

import (
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// tokenBase is the base in which the number at the end of a reply subject is written. This
	// number, the token, identifies a pending delivery report.
	tokenBase = 36
	// statusHeader and noRespondersStatus identify a no-responders status. The server sends such a
	// status if a message with a reply subject is published on a subject without subscribers.
	statusHeader       = "Status"
	noRespondersStatus = "503"
	// reasonHeader is a header of a no-responders status. Its value is misroutedReason if a process
	// has dropped the frame although other processes may serve its method. NATS servers and psrpc
	// processes do not send this header.
	reasonHeader    = "Dynpsrpc-Reason"
	misroutedReason = "misrouted"
)

// noResponders receives the no-responders statuses of the NATS server. Such a status makes a call
// to a method without servers fail after one round trip instead of at its timeout.
//
// The server sends a status only for a message with a reply subject. That subject is inboxPrefix
// followed by a token, which identifies the pending delivery report. One wildcard subscription
// therefore receives all statuses.
type noResponders struct {
	inboxPrefix string
	// inboxSubject is inboxPrefix + ">". The inbox keeps its subject if the bus replaces the
	// connection.
	inboxSubject string
	// sub is the subscription to inboxSubject. Bus.changeMu guards it.
	sub *nats.Subscription
	// supported reports whether the server supports headers.
	supported atomic.Bool
	// denied reports whether the server has denied the subscription sub.
	denied atomic.Bool
}

// enabled reports whether the server can send no-responders statuses to this bus.
func (n *noResponders) enabled() bool { return n.supported.Load() && !n.denied.Load() }

func (n *noResponders) unsubscribe() {
	if n.sub != nil {
		// If this fails, the connection has already been closed.
		_ = n.sub.Unsubscribe()
	}
}

// replySubject returns the reply subject for a frame with the given token.
func (n *noResponders) replySubject(token uint64) string {
	// The buffer is large enough for most inbox prefixes, so only the string is allocated.
	var buffer [64]byte
	return string(strconv.AppendUint(append(buffer[:0], n.inboxPrefix...), token, tokenBase))
}

// inboxIDSize is the length of the random part of an inbox prefix, which nats.go generates.
const inboxIDSize = 22

// peerReply returns subject if it is the reply subject of a bus with the same inbox prefix (_INBOX
// by default), or else "". The sender of a frame chooses the reply subject freely, so this process
// must not publish to any other subject on the sender's behalf. A publisher with another prefix is
// not told that no process has handled its frame. Its call ends at its timeout.
func (n *noResponders) peerReply(subject string) string {
	common := n.inboxPrefix[:len(n.inboxPrefix)-inboxIDSize-1]
	inbox, found := strings.CutPrefix(subject, common)
	if !found {
		return ""
	}
	id, token, found := strings.Cut(inbox, ".")
	if !found || len(id) != inboxIDSize || !isAlphanumeric(id) ||
		len(token) == 0 || len(token) > maxToken || !isAlphanumeric(token) {
		return ""
	}
	return subject
}

func isAlphanumeric(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// readServerInfo stores the maximum payload of the connected server and records whether the server
// belongs to a cluster and supports headers. All of these may change when the bus reconnects to
// another server.
func (b *Bus) readServerInfo() {
	b.maxPayload.Store(b.conn().MaxPayload())
	b.clustered.Store(b.conn().ConnectedClusterName() != "")
	supported := b.conn().HeadersSupported()
	b.noResponders.supported.Store(supported)
	if !supported {
		b.options.logger.Warn("nats bus: the server does not support headers and cannot report missing subscribers: calls " +
			"without a server end at their timeout")
	}
}

// subscribeInbox subscribes to the inbox on the current connection.
func (b *Bus) subscribeInbox() (err error) {
	b.noResponders.sub, err = b.conn().ChanSubscribe(b.noResponders.inboxSubject, b.inbound)
	if err != nil {
		return errors.NewErrorf(errors.Unavailable, "nats bus: cannot subscribe to its inbox: %w", err)
	}
	return nil
}

// onInboxMessage handles a message received on the inbox subject.
func (b *Bus) onInboxMessage(m *nats.Msg) {
	tokenText, _, _ := strings.Cut(m.Subject[len(b.noResponders.inboxPrefix):], ".")
	token, err := strconv.ParseUint(tokenText, tokenBase, 64)
	if err != nil {
		return
	}
	if m.Header.Get(statusHeader) != noRespondersStatus {
		// The message acknowledges a sample, or it comes from JetStream, which acknowledges a frame
		// if a stream has stored it. onSampleAcknowledged tells them apart.
		b.onSampleAcknowledged(token, m.Data)
		return
	}
	report := b.reports.remove(token)
	switch {
	case report == nil:
	case m.Header.Get(reasonHeader) == misroutedReason:
		report.Delivered(0, bus.ErrMisrouted)
	default:
		report.Delivered(0, nil)
	}
}

// sendStatus sends a no-responders status to the reply subject of a peer, as the NATS server does.
// reason may be empty. If reply is empty, sendStatus does nothing.
func (b *Bus) sendStatus(reply, reason string) {
	if reply == "" {
		return
	}
	status := &nats.Msg{Subject: reply, Header: nats.Header{statusHeader: {noRespondersStatus}}}
	if reason != "" {
		status.Header.Set(reasonHeader, reason)
	}
	// If this fails, the peer is not notified.
	_ = b.conn().PublishMsg(status)
}
