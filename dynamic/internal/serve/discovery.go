package serve

import (
	"slices"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// onDiscover handles a discovery request, in which a client asks which servers serve a channel. The
// bus calls onDiscover, so it must not block.
func (s *Service) onDiscover(frame []byte) {
	discover, _, err := transport.Decode(frame, wire.KindDiscover, s.engine.limits, wire.ParseDiscover)
	if err != nil {
		s.engine.drops.AddBad(bus.Channel(wire.DiscoverChannel(s.Descriptor.WireName())), err)
		return
	}
	if len(discover.Answered) > 0 {
		s.unicast.onMissing(&discover)
		return
	}
	e := s.endpoint(discover.Channel)
	if e == nil || !e.isAnnounced() || e.IsClosing() {
		return
	}
	members, retry := s.unicast.peers.members(e.name)
	client := bus.Channel(wire.PresenceClientChannel(s.Descriptor.WireName(), string(discover.ClientID)))
	s.engine.workers.Go(&presenceAnswer{s, client, members, [][]byte{discover.Channel}})
	if retry {
		all := bus.Channel(wire.PresenceChannel(s.Descriptor.WireName()))
		s.engine.workers.Go(&presenceAnswer{s, all, 0, [][]byte{discover.Channel}})
	}
}

// onMissing handles the second discovery request of a client, which contains the addresses of the
// servers that have responded to the first. Only the server whose address comes first acts: it
// passes the discovery request on to the servers that it knows and that have not responded.
// onMissing never blocks. See [wire.Discover.Answered].
func (u *unicastReceiver) onMissing(discover *wire.Discover) {
	if string(discover.Answered[0]) != u.address {
		return
	}
	workers := u.service.Load().engine.workers
	for _, address := range u.peers.missing(string(discover.Channel), discover.Answered) {
		workers.Go(&missingPeer{u, address, wire.Discover{ClientID: discover.ClientID, Channel: discover.Channel}})
	}
}

// missingPeer is a task for the server's worker pool. The task is to send the discovery request of
// a client to another server, which has not responded to it. missingPeer is also the
// bus.DeliveryReport for that request.
type missingPeer struct {
	*unicastReceiver

	peer     string
	discover wire.Discover
}

// serve implements task.
func (m *missingPeer) serve() {
	s := m.service.Load()
	s.engine.publishMessage(answerTimeout, bus.Channel(wire.UnicastChannel(s.Descriptor.WireName(), m.peer)), &m.discover, m)
}

// Delivered implements bus.DeliveryReport. If the channel of the other server has no subscriber,
// the other server is gone, for example because it was killed.
func (m *missingPeer) Delivered(receivers int, _ error) {
	if receivers == 0 {
		m.service.Load().engine.workers.Go(&gonePeer{m.unicastReceiver, m.peer})
	}
}

// gonePeer is a task for the server's worker pool. The task is to tell all clients and servers,
// including this one, that another server is gone.
type gonePeer struct {
	*unicastReceiver

	peer string
}

// serve implements task.
func (g *gonePeer) serve() {
	s := g.service.Load()
	all := bus.Channel(wire.PresenceChannel(s.Descriptor.WireName()))
	for channels := range slices.Chunk(g.peers.channelsOf(g.peer), maxAnnouncedChannels) {
		presence := wire.Presence{State: wire.PresenceLeft, Address: []byte(g.peer), Channels: channels}
		s.engine.publishMessage(answerTimeout, all, &presence, nil)
	}
}
