package dynamic

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

const (
	// peersQuietTime is how long a server that has joined a channel waits after each answer of
	// another server. If no further answer arrives in that time, the server assumes that it has all
	// answers.
	peersQuietTime = 200 * time.Millisecond
	// maxPeers is the maximum number of servers of a channel that know each other. If a channel has
	// more servers, only about maxPeers of them listen to announcements, and none of them tells
	// clients how many servers there are. If all of them listened, each server that joins would
	// cause too many messages.
	maxPeers = 100
	// crowdAnswers is how many servers of a channel with more than maxPeers servers answer an
	// announcement, on average. Even one answer tells the new server how many there are.
	crowdAnswers = 10
	// maxPeerAnnouncements is the maximum number of times that a server announces that it has
	// joined a channel. It repeats the announcement if, according to the answers, there are more
	// servers than have answered. This happens if other servers leave at the same time.
	maxPeerAnnouncements = 3
)

// peers keeps track of the other servers that serve the same channels, on a bus that does not count
// receivers. With them, a server can tell a client how many responses to a discovery request to
// expect, so that the client stops waiting after the last one.
//
// A server that joins a channel announces this to all clients and servers. The other servers answer
// on its unicast channel, with the number of servers that they know.
type peers struct {
	// announcements is the subscription to the announcements of other servers.
	announcements transport.LazySubscription

	mu sync.Mutex
	// channels holds the channels that this server serves, keyed by the name of the request
	// channel.
	channels map[string]*channelPeers
	// crowd is the largest number of servers that any channel has had, including this server. It is
	// zero if that number has not exceeded maxPeers.
	crowd int
	// deaf reports whether this server has stopped listening to announcements.
	deaf bool
}

// channelPeers holds the other servers of one channel.
type channelPeers struct {
	// addresses holds the addresses of the servers; see [wire.Presence.Address].
	addresses map[string]struct{}
	// expected is the largest number of servers of the channel that another server has reported. It
	// includes this server.
	expected int
	// answered is the time of the last answer to this server's announcement. Before the first
	// answer, it is the time of the announcement itself.
	answered time.Time
	// announcements counts how often this server has announced itself.
	announcements int
}

// setServing records whether this server receives requests on a channel.
func (p *peers) setServing(channel string, serving bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !serving:
		delete(p.channels, channel)
	case p.channels[channel] == nil && p.announcements.IsOpen() && !p.deaf:
		if p.channels == nil {
			p.channels = map[string]*channelPeers{}
		}
		p.channels[channel] = &channelPeers{addresses: map[string]struct{}{}, answered: time.Now(), announcements: 1}
	}
}

// members returns the number of servers of a channel, including this one. It returns zero if this
// server does not know all of them. If retry is true, the caller must announce this server again.
func (p *peers) members(channel string) (members int, retry bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.channels[channel]
	switch {
	case c == nil || p.crowd > 0 || time.Since(c.answered) < peersQuietTime:
		return 0, false
	case c.count() >= c.expected:
		return c.count(), false
	case c.announcements >= maxPeerAnnouncements:
		return 0, false
	}
	c.announcements++
	c.expected, c.answered = 0, time.Now()
	return 0, true
}

// count returns the number of known servers, including this one.
func (c *channelPeers) count() int { return len(c.addresses) + 1 }

// add adds a server that receives requests on a channel. It returns the number of servers that are
// now known, including this one. If this server does not receive requests on the channel, add does
// nothing and returns zero.
func (p *peers) add(channel, address string) (count int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.channels[channel]
	if c == nil {
		return 0
	}
	c.addresses[address] = struct{}{}
	return c.count()
}

// addAnswer adds a server that has answered an announcement of this server. known is the number of
// servers that the other server knows. addAnswer returns the number of servers of the channel that
// this server knows or that another server has reported, whichever is larger. If this server does
// not receive requests on the channel, addAnswer returns zero.
func (p *peers) addAnswer(channel, address string, known int) (count int) {
	if p.add(channel, address) == 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.channels[channel]
	if c == nil {
		return 0
	}
	c.answered, c.expected = time.Now(), max(c.expected, known)
	return max(c.count(), c.expected)
}

// onCount decides whether this server stops listening to announcements. count is the number of
// servers of a channel. If there are more than maxPeers, onCount decides at random, so that about
// maxPeers servers still listen. If onCount returns true, the caller must close the subscription to
// announcements.
func (p *peers) onCount(count int) (stop bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if count <= max(p.crowd, maxPeers) || p.deaf {
		return false
	}
	//nolint:gosec // the choice need not be unpredictable
	if p.deaf = rand.IntN(count) >= max(p.crowd, maxPeers); p.deaf {
		p.channels = nil
	}
	p.crowd = count
	return p.deaf
}

// mustAnswer reports whether this server must answer an announcement of another server. On channels
// with more than maxPeers servers, this is decided at random, so that about crowdAnswers servers
// answer.
func (p *peers) mustAnswer() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	//nolint:gosec // the choice need not be unpredictable
	return p.crowd == 0 || rand.IntN(maxPeers) < crowdAnswers
}

// isDeaf reports whether this server has stopped listening to announcements.
func (p *peers) isDeaf() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deaf
}

// remove removes a server from a channel.
func (p *peers) remove(channel, address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.channels[channel]
	if c == nil {
		return
	}
	if _, ok := c.addresses[address]; ok {
		delete(c.addresses, address)
		c.expected = max(c.expected-1, 0)
	}
}

// missing returns the addresses of the servers of a channel that are not in answered.
func (p *peers) missing(channel string, answered [][]byte) (addresses []string) {
	isAnswered := make(map[string]bool, len(answered))
	for _, address := range answered {
		isAnswered[string(address)] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.channels[channel]; c != nil {
		for address := range c.addresses {
			if !isAnswered[address] {
				addresses = append(addresses, address)
			}
		}
	}
	return addresses
}

// channelsOf returns the names of the channels that another server serves.
func (p *peers) channelsOf(address string) (channels [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, c := range p.channels {
		if _, ok := c.addresses[address]; ok {
			channels = append(channels, []byte(name))
		}
	}
	return channels
}

// onAnnouncement is the bus.Handler for the announcements of the servers of the service. It records
// which channels the other servers serve, and answers servers that have joined a channel. It never
// blocks.
func (u *unicastReceiver) onAnnouncement(frame []byte) {
	presence, ok := u.decodePresence(frame)
	if !ok {
		return
	}
	r, address := u.registration.Load(), string(presence.Address)
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
	peer := bus.Channel(wire.UnicastChannel(r.service.WireName(), address))
	for count, channels := range channelsByCount {
		if u.peers.mustAnswer() {
			r.server.workers.Go(&presenceAnswer{r, peer, count, channels})
		}
		u.onCount(count)
	}
}

// onCount makes this server stop listening to announcements if the method onCount of peers says so.
// count is the number of servers of a channel.
func (u *unicastReceiver) onCount(count int) {
	if u.peers.onCount(count) {
		u.registration.Load().server.workers.Go(&subscriptionClosing{&u.peers.announcements})
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
// malformed, if it comes from this server, or if its sender has no unicast channel. It also logs a
// warning if the sender belongs to another service with the same name on the bus, or if it has the
// ID of this server.
func (u *unicastReceiver) decodePresence(frame []byte) (wire.Presence, bool) {
	server := u.registration.Load().server
	presence, _, err := transport.Decode(frame, wire.KindPresence, server.options.decompression(), wire.ParsePresence)
	if err != nil {
		server.drops.addBad(u.channel(), err)
		return presence, false
	}
	u.namesakes.check(&presence)
	if len(presence.Address) == 0 || string(presence.Address) == u.address {
		return presence, false
	}
	u.checkID(&presence)
	return presence, true
}

// checkID logs one warning if presence comes from another server that has the ID of this server. If
// this server is shutting down, the other one is probably its successor, and there is no warning.
func (u *unicastReceiver) checkID(presence *wire.Presence) {
	r := u.registration.Load()
	if presence.State != wire.PresenceServing || !bytes.Equal(presence.ServerID, r.server.wireID) || r.isEnding() ||
		u.warnedOfID.Swap(true) {
		return
	}
	r.server.options.logger.Warn("dynpsrpc: another server on the bus has the ID of this server, so that clients take both for one: "+
		"give each an ID of its own with WithServerID",
		slog.String("server", r.server.ID()), slog.String("service", string(r.service.Name())))
}

// onMissing handles the second discovery request of a client, which contains the addresses of the
// servers that have responded to the first. Only the first of these servers acts: it passes the
// discovery request on to those servers that it knows and that have not responded. onMissing never
// blocks. See [wire.Discover.Answered].
func (u *unicastReceiver) onMissing(discover *wire.Discover) {
	if string(discover.Answered[0]) != u.address {
		return
	}
	workers := u.registration.Load().server.workers
	for _, address := range u.peers.missing(string(discover.Channel), discover.Answered) {
		workers.Go(&missingPeer{u, address, wire.Discover{ClientID: discover.ClientID, Channel: discover.Channel}})
	}
}

// missingPeer is a task for the server's worker pool. The task is to send the discovery request of a
// client to another server, which has not responded to it. missingPeer is also the
// bus.DeliveryReport of this message.
type missingPeer struct {
	*unicastReceiver

	peer     string
	discover wire.Discover
}

// serve implements task.
func (m *missingPeer) serve() {
	r := m.registration.Load()
	r.server.publishMessage(answerTimeout, bus.Channel(wire.UnicastChannel(r.service.WireName(), m.peer)), &m.discover, m)
}

// Delivered implements bus.DeliveryReport. If the channel of the other server has no subscriber,
// the other server is gone, for example because it was killed.
func (m *missingPeer) Delivered(receivers int, _ error) {
	if receivers == 0 {
		m.registration.Load().server.workers.Go(&gonePeer{m.unicastReceiver, m.peer})
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
	r := g.registration.Load()
	all := bus.Channel(wire.PresenceChannel(r.service.WireName()))
	for channels := range slices.Chunk(g.peers.channelsOf(g.peer), maxAnnouncedChannels) {
		presence := wire.Presence{State: wire.PresenceLeft, Address: []byte(g.peer), Channels: channels}
		r.server.publishMessage(answerTimeout, all, &presence, nil)
	}
}
