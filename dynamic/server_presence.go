package dynamic

import (
	"context"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const (
	// announceTimeout limits how long it may take to publish an announcement on a busy bus.
	announceTimeout = 100 * time.Millisecond
	// answerTimeout limits how long it may take to publish other messages about servers. It is
	// longer because a worker publishes them, so no method of the server waits.
	answerTimeout = time.Second
	// maxAnnouncedChannels is the maximum number of channels in one announcement.
	maxAnnouncedChannels = 100
)

// subscribePresence subscribes to the channels on which clients and other servers find this server:
// that for discovery requests, the unicast channel of the server and, if the bus does not count
// receivers, that for announcements. It does nothing if clients need not know the servers; see
// [transport.Traits.Announces]. If the broker denies one of them, it logs one warning, skips the
// remaining ones, and returns nil.
func (r *Registration) subscribePresence(ctx context.Context) error {
	traits, service := r.server.traits, r.service.WireName()
	if !r.hasMethod(traits.Announces) {
		return nil
	}
	discovery, unicast, announcements := &r.discoverySubscription, &r.unicast.requests, &r.unicast.peers.announcements
	slower := "the more servers a queue has, the more a queue call costs"
	if !traits.CountsReceivers {
		slower = "multi calls last until their timeout"
	}
	err := r.subscribeIfPermitted(ctx, discovery, bus.Channel(wire.DiscoverChannel(service)), r.onDiscover,
		"the broker does not permit to subscribe to discovery, so that clients do not know this server: "+slower)
	if err != nil || !discovery.IsOpen() {
		return err
	}
	if !traits.CountsReceivers {
		slower = "the first affinity call of a conn takes up to 0.2 s longer"
	}
	err = r.subscribeIfPermitted(ctx, unicast, r.unicast.channel(), r.unicast.onFrame,
		"the broker does not permit to subscribe to a channel of this server alone: "+slower)
	if err != nil || !unicast.IsOpen() || traits.CountsReceivers || r.unicast.peers.isDeaf() {
		return err
	}
	return r.subscribeIfPermitted(ctx, announcements, bus.Channel(wire.PresenceChannel(service)), r.unicast.onAnnouncement,
		"the broker does not permit to subscribe to the announcements of servers: "+slower)
}

// hasMethod reports whether matches returns true for any method that the registration serves.
func (r *Registration) hasMethod(matches func(m *registry.Method) bool) bool {
	for _, plan := range r.plans {
		if matches(plan.method) {
			return true
		}
	}
	return false
}

// onDiscover handles a discovery request, in which a client asks which servers serve a channel. The
// bus calls onDiscover, so it must not block.
func (r *Registration) onDiscover(frame []byte) {
	discover, _, err := transport.Decode(frame, wire.KindDiscover, r.server.options.decompression(), wire.ParseDiscover)
	if err != nil {
		r.server.drops.addBad(bus.Channel(wire.DiscoverChannel(r.service.WireName())), err)
		return
	}
	if len(discover.Answered) > 0 {
		r.unicast.onMissing(&discover)
		return
	}
	e := r.endpoint(discover.Channel)
	if e == nil || !e.isAnnounced() || e.isClosing() {
		return
	}
	members, retry := r.unicast.peers.members(e.name)
	client := bus.Channel(wire.PresenceClientChannel(r.service.WireName(), string(discover.ClientID)))
	r.server.workers.Go(&presenceAnswer{r, client, members, [][]byte{discover.Channel}})
	if retry {
		all := bus.Channel(wire.PresenceChannel(r.service.WireName()))
		r.server.workers.Go(&presenceAnswer{r, all, 0, [][]byte{discover.Channel}})
	}
}

// presenceAnswer is a task for the server's worker pool. The task is to tell clients or servers
// that this server receives the requests on the channels in the field channels.
type presenceAnswer struct {
	registration *Registration
	receiver     bus.Channel
	// members is the number of servers that receive the requests on these channels, or 0 if it is
	// not known or not needed; see [wire.Presence.Members].
	members  int
	channels [][]byte
}

// serve implements task.
func (a *presenceAnswer) serve() {
	a.registration.publishPresence(answerTimeout, a.receiver, wire.PresenceServing, a.members, a.channels)
}

// announce tells all clients and servers of the service whether this server receives requests on
// the channels of endpoints. It also records this in the field peers of r.unicast.
func (r *Registration) announce(state wire.PresenceState, endpoints ...*endpoint) {
	// Topics may be registered and deregistered often, and each announcement reaches all clients of
	// the service. If the bus counts receivers, topics need no announcements, because clients
	// notice that the number of receivers has changed.
	omitsTopics := r.server.traits.CountsReceivers
	endpoints = slices.DeleteFunc(slices.Clone(endpoints), func(e *endpoint) bool {
		return !e.isAnnounced() || omitsTopics && len(e.topic) > 0
	})
	var channels [][]byte
	for _, e := range endpoints {
		r.unicast.peers.setServing(e.name, state == wire.PresenceServing)
		channels = append(channels, []byte(e.name))
	}
	for part := range slices.Chunk(channels, maxAnnouncedChannels) {
		r.publishPresence(announceTimeout, bus.Channel(wire.PresenceChannel(r.service.WireName())), state, 0, part)
	}
}

// publishPresence tells the subscribers of receiver whether this server receives the requests on
// channels, according to state. members is the number of servers that do so, or 0 if it is not
// known or not needed; see [wire.Presence.Members].
func (r *Registration) publishPresence(
	timeout time.Duration, receiver bus.Channel, state wire.PresenceState, members int, channels [][]byte,
) {
	//nolint:gosec // the number is limited by memory
	presence := wire.Presence{
		ServerID: r.server.wireID, State: state, Members: uint32(members), Channels: channels,
		Service: []byte(r.service.Name()),
	}
	if r.unicast.requests.IsOpen() {
		presence.Address, presence.Receiver = []byte(r.unicast.address), []byte(r.server.traits.ReceiverID)
	}
	// If the message is lost, clients discover this server when it responds to a call.
	r.server.publishMessage(timeout, receiver, &presence, nil)
}

// appender is a message of package wire.
type appender interface {
	AppendFrame(dst []byte) ([]byte, error)
}

// publishMessage publishes a message about servers. report may be nil. Errors of the bus are
// ignored, because such messages only save time: clients also discover servers when these respond
// to calls.
func (s *Server) publishMessage(timeout time.Duration, receiver bus.Channel, message appender, report bus.DeliveryReport) {
	frame, err := message.AppendFrame(nil)
	if err != nil {
		// This cannot happen, because IDs, addresses and channel names are valid UTF-8.
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_ = s.bus.Publish(ctx, receiver, frame, report)
}

// isAnnounced reports whether the server tells clients that it receives requests on the channel of
// e. The server does not do so if e is suspended, or if another version of the service has taken
// over the channel.
func (e *endpoint) isAnnounced() bool {
	return !e.suspended && e.plan.server.traits.Announces(e.plan.method) && e.inbound.current() == e
}
