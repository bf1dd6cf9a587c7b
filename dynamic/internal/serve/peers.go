package serve

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
)

const (
	// peersQuietTime is how long a server that has joined a channel waits after its announcement
	// and after each answer. If no further answer arrives in that time, the server assumes that it
	// has all of them.
	peersQuietTime = 200 * time.Millisecond
	// maxPeers is the maximum number of servers of a channel that know each other. If a channel has
	// more servers, only about maxPeers of them listen to announcements, because each server that
	// joins would otherwise cause too many messages. None of them then tells clients how many
	// servers there are.
	maxPeers = 100
	// crowdAnswers is how many servers of a channel with more than maxPeers servers answer an
	// announcement, on average. Even one answer tells the new server how many servers there are.
	crowdAnswers = 10
	// maxPeerAnnouncements is the maximum number of times that a server announces that it has
	// joined a channel. It repeats the announcement if, according to the answers, there are more
	// servers than have answered. This happens, for example, if other servers leave at the same
	// time.
	maxPeerAnnouncements = 3
)

// peers keeps track of the other servers that serve the same channels, on a bus that does not count
// receivers. A server can thus tell a client how many responses to a discovery request to expect.
// The client then stops waiting after the last one.
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
	// expected is the largest number of servers of the channel that another server has reported
	// since this server last announced itself. It includes this server.
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
// servers of the channel that the other server has reported. addAnswer returns the number of
// servers of the channel that this server knows, or the largest reported number if that is larger.
// If this server does not receive requests on the channel, addAnswer returns zero.
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
// servers of a channel. If count exceeds maxPeers and every earlier count, onCount decides at
// random, so that about maxPeers servers still listen. If onCount returns true, the caller must
// close the subscription to announcements.
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

// restart is called when announcements of other servers may have been lost. This server then does
// not tell clients how many servers there are until the others have answered its next announcement.
// restart returns the number of known servers of the largest channel, including this server.
func (p *peers) restart() (servers int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	servers = max(p.crowd, 1)
	for _, c := range p.channels {
		servers = max(servers, c.count())
		c.expected, c.answered, c.announcements = 0, time.Now(), 1
	}
	return servers
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
