package serve

import (
	"bytes"
	"log/slog"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// onAnnouncement is the bus.Handler for the announcements of the servers of the service. It records
// which channels the other servers serve, and answers servers that have joined a channel. It never
// blocks.
func (u *unicastReceiver) onAnnouncement(frame []byte) {
	presence, ok := u.decodePresence(frame)
	if !ok {
		return
	}
	s, address := u.service.Load(), string(presence.Address)
	channelsByCount := map[int][][]byte{}
	for _, name := range presence.Channels {
		if presence.State != wire.PresenceServing {
			u.peers.remove(string(name), address)
			continue
		}
		if count := u.peers.add(string(name), address); count > 0 {
			channelsByCount[count] = append(channelsByCount[count], name)
		}
	}
	peer := bus.Channel(wire.UnicastChannel(s.Descriptor.WireName(), address))
	for count, channels := range channelsByCount {
		if u.peers.mustAnswer() {
			s.engine.workers.Go(&presenceAnswer{s, peer, count, channels})
		}
		u.onCount(count)
	}
}

// onCount makes this server stop listening to announcements if peers.onCount returns true. count is
// the number of servers of a channel.
func (u *unicastReceiver) onCount(count int) {
	if u.peers.onCount(count) {
		u.service.Load().engine.workers.Go(&subscriptionClosing{&u.peers.announcements})
	}
}

// subscriptionClosing is a task for the server's worker pool. The task is to close a subscription,
// which must not be done in a bus.Handler.
type subscriptionClosing struct{ *transport.LazySubscription }

// serve implements task.
func (c *subscriptionClosing) serve() { c.Close() }

// onPeerAnswer handles the answer of another server to an announcement of this server. It never
// blocks.
func (u *unicastReceiver) onPeerAnswer(frame []byte) {
	if presence, ok := u.decodePresence(frame); ok && presence.State == wire.PresenceServing {
		for _, name := range presence.Channels {
			u.onCount(u.peers.addAnswer(string(name), string(presence.Address), int(presence.Members)))
		}
	}
}

// decodePresence decodes the message of another server. It returns false if the message is
// malformed, if it comes from this server, or if its sender has no unicast channel. It logs a
// warning if the sender has the ID of this server, or belongs to another service with the same name
// on the bus.
func (u *unicastReceiver) decodePresence(frame []byte) (wire.Presence, bool) {
	engine := u.service.Load().engine
	presence, _, err := transport.Decode(frame, wire.KindPresence, engine.limits, wire.ParsePresence)
	if err != nil {
		engine.drops.AddBad(u.channel(), err)
		return presence, false
	}
	u.namesakes.Check(&presence)
	if len(presence.Address) == 0 {
		return presence, false
	}
	if string(presence.Address) == u.address {
		u.onOwnPresence(&presence)
		return presence, false
	}
	u.checkID(&presence)
	return presence, true
}

// checkID logs one warning if presence comes from another server that has the ID of this server. If
// this server is shutting down, the other one is probably its successor, and there is no warning.
func (u *unicastReceiver) checkID(presence *wire.Presence) {
	s := u.service.Load()
	if presence.State != wire.PresenceServing || !bytes.Equal(presence.ServerID, s.engine.wireID) || s.isEnding() ||
		u.warnedOfID.Swap(true) {
		return
	}
	s.engine.Logger.Warn("dynpsrpc: another server on the bus has the ID of this server, so that clients take both for one: "+
		"give each an ID of its own with WithServerID",
		slog.String("server", s.engine.ID), slog.String("service", string(s.Descriptor.Name())))
}
