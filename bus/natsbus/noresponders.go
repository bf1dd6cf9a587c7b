package natsbus

import (
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"

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
	// reasonHeader is a header of the no-responders statuses that a bus of this package sends
	// itself, when it drops a frame. Its value is misroutedReason if other processes may serve the
	// method of the frame. Statuses from the NATS server lack this header.
	reasonHeader    = "Dynpsrpc-Reason"
	misroutedReason = "misrouted"
)

// noResponders receives and sends no-responders statuses. A status of the NATS server makes a call
// to a method without servers fail after one round trip instead of at its timeout.
//
// The server sends a status only for a message with a reply subject. That subject is inboxPrefix
// followed by a token, which identifies the pending delivery report. One wildcard subscription
// therefore receives all statuses.
type noResponders struct {
	conn        *connection
	inboxPrefix string
	// inboxSubject is inboxPrefix + ">". The inbox keeps its subject if the bus replaces the
	// connection.
	inboxSubject string
	// sub is the subscription to inboxSubject. It changes while the bus is created, and later only
	// while subscriptions.changeMu is locked.
	sub *nats.Subscription
	// denied reports whether the server has denied the subscription sub.
	denied atomic.Bool
}

func newNoResponders(conn *connection, inboxPrefix string) *noResponders {
	return &noResponders{conn: conn, inboxPrefix: inboxPrefix, inboxSubject: inboxPrefix + ">"}
}

// enabled reports whether the server can send no-responders statuses to this bus.
func (n *noResponders) enabled() bool { return n.conn.headers.Load() && !n.denied.Load() }

// subscribe subscribes to the inbox on the current connection. Its messages are sent on inbound.
func (n *noResponders) subscribe(inbound chan *nats.Msg) (err error) {
	n.sub, err = n.conn.get().ChanSubscribe(n.inboxSubject, inbound)
	if err != nil {
		return errors.NewErrorf(errors.Unavailable, "nats bus: cannot subscribe to its inbox: %w", err)
	}
	return nil
}

func (n *noResponders) unsubscribe() {
	if n.sub != nil {
		// If this fails, the connection has already been closed.
		_ = n.sub.Unsubscribe()
	}
}

// onDenied is called when the server has denied the subscription to the inbox.
func (n *noResponders) onDenied(err error) {
	n.denied.Store(true)
	n.conn.telemetry.logger.Warn("nats bus: the server denied the inbox subscription and cannot report missing subscribers: "+
		"calls without a server end at their timeout", "error", permissionError(err))
}

// replySubject returns the reply subject for a frame with the given token.
func (n *noResponders) replySubject(token uint64) string {
	// The buffer is large enough for most inbox prefixes, so only the string is allocated.
	var buffer [64]byte
	return string(strconv.AppendUint(append(buffer[:0], n.inboxPrefix...), token, tokenBase))
}

// parseToken returns the token of a reply subject of this bus.
func (n *noResponders) parseToken(subject string) (uint64, error) {
	token, _, _ := strings.Cut(subject[len(n.inboxPrefix):], ".")
	return strconv.ParseUint(token, tokenBase, 64)
}

// inboxIDSize is the length of the random part of an inbox prefix, which nats.go generates.
const inboxIDSize = 22

// peerReply returns subject if it is the reply subject of a bus with the same inbox prefix (_INBOX
// by default), or else "". The sender of a frame chooses the reply subject freely, so this process
// must not publish to any other subject on the sender's behalf. A publisher with another prefix
// gets no status if no process has handled its frame. Its call then fails when its timeout expires.
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

// sendStatus sends a no-responders status to the reply subject of a peer, as the NATS server does.
// reason may be empty. If reply is empty, sendStatus does nothing.
func (n *noResponders) sendStatus(reply, reason string) {
	if reply == "" {
		return
	}
	status := &nats.Msg{Subject: reply, Header: nats.Header{statusHeader: {noRespondersStatus}}}
	if reason != "" {
		status.Header.Set(reasonHeader, reason)
	}
	// If this fails, the peer is not notified.
	_ = n.conn.get().PublishMsg(status)
}

// isStatus reports whether m is a no-responders status.
func isStatus(m *nats.Msg) bool { return m.Header.Get(statusHeader) == noRespondersStatus }
