package serve

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

// subscribePresence subscribes to the channels on which clients and other servers find this server.
// These are the channel for discovery requests and the unicast channel of the server. If the bus
// does not count receivers, there is also the channel for announcements. If clients need not know
// the servers, subscribePresence does nothing; see [transport.Traits.Announces]. If the broker
// denies one of the channels, subscribePresence logs one warning, skips the remaining channels, and
// returns nil.
func (s *Service) subscribePresence(ctx context.Context) error {
	traits, service := s.engine.traits, s.Descriptor.WireName()
	if !s.hasMethod(traits.Announces) {
		return nil
	}
	discovery, unicast, announcements := &s.discoverySubscription, &s.unicast.requests, &s.unicast.peers.announcements
	slower := "the more servers a queue has, the more a queue call costs"
	if !traits.CountsReceivers {
		slower = "multi calls last until their timeout"
	}
	err := s.subscribeIfPermitted(ctx, discovery, bus.Channel(wire.DiscoverChannel(service)), s.onDiscover,
		"the broker does not permit to subscribe to discovery, so that clients do not know this server: "+slower)
	if err != nil || !discovery.IsOpen() {
		return err
	}
	if !traits.CountsReceivers {
		slower = "the first affinity call of a conn takes up to 0.2 s longer"
	}
	err = s.subscribeIfPermitted(ctx, unicast, s.unicast.channel(), s.unicast.onFrame,
		"the broker does not permit to subscribe to a channel of this server alone: "+slower)
	if err != nil || !unicast.IsOpen() || traits.CountsReceivers {
		return err
	}
	unicast.NotifyRenewed(s.unicast.announceAgain)
	if s.unicast.peers.isDeaf() {
		return nil
	}
	return s.subscribeIfPermitted(ctx, announcements, bus.Channel(wire.PresenceChannel(service)), s.unicast.onAnnouncement,
		"the broker does not permit to subscribe to the announcements of servers: "+slower)
}

// hasMethod reports whether matches returns true for any method that the service serves.
func (s *Service) hasMethod(matches func(m *registry.Method) bool) bool {
	for _, plan := range s.plans {
		if matches(plan.method) {
			return true
		}
	}
	return false
}

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

// presenceAnswer is a task for the server's worker pool. The task is to tell clients or servers
// that this server receives the requests on the channels in the field channels.
type presenceAnswer struct {
	service  *Service
	receiver bus.Channel
	// members is the number of servers that receive the requests on these channels, or 0 if it is
	// not known or not needed; see [wire.Presence.Members].
	members  int
	channels [][]byte
}

// serve implements task.
func (a *presenceAnswer) serve() {
	a.service.publishPresence(answerTimeout, a.receiver, wire.PresenceServing, a.members, a.channels)
}

// announce tells all clients and servers of the service whether this server receives requests on
// the channels of endpoints. It also records this in the field peers of s.unicast.
func (s *Service) announce(state wire.PresenceState, endpoints ...*endpoint) {
	// Topics may be registered and deregistered often, and each announcement reaches all clients of
	// the service. If the bus counts receivers, topics need no announcements, because clients
	// notice that the number of receivers has changed.
	omitsTopics := s.engine.traits.CountsReceivers
	endpoints = slices.DeleteFunc(slices.Clone(endpoints), func(e *endpoint) bool {
		return !e.isAnnounced() || omitsTopics && len(e.topic) > 0
	})
	var channels [][]byte
	for _, e := range endpoints {
		s.unicast.peers.setServing(e.name, state == wire.PresenceServing)
		channels = append(channels, []byte(e.name))
	}
	for part := range slices.Chunk(channels, maxAnnouncedChannels) {
		s.publishPresence(announceTimeout, bus.Channel(wire.PresenceChannel(s.Descriptor.WireName())), state, 0, part)
	}
}

// publishPresence tells the subscribers of receiver whether this server receives the requests on
// channels, according to state. members is the number of servers that do so, or 0 if it is not
// known or not needed; see [wire.Presence.Members].
func (s *Service) publishPresence(
	timeout time.Duration, receiver bus.Channel, state wire.PresenceState, members int, channels [][]byte,
) {
	//nolint:gosec // the number is limited by memory
	presence := wire.Presence{
		ServerID: s.engine.wireID, State: state, Members: uint32(members), Channels: channels,
		Service: []byte(s.Descriptor.Name()),
	}
	if s.unicast.requests.IsOpen() {
		presence.Address, presence.Receiver = []byte(s.unicast.address), []byte(s.engine.traits.ReceiverID)
	}
	// If the message is lost, clients discover this server when it responds to a call.
	s.engine.publishMessage(timeout, receiver, &presence, nil)
}

// appender is a message of package wire.
type appender interface {
	AppendFrame(dst []byte) ([]byte, error)
}

// publishMessage publishes a message about servers. report may be nil. Errors of the bus are
// ignored, because such messages only save time: clients also discover servers when these respond
// to calls.
func (e *Engine) publishMessage(timeout time.Duration, receiver bus.Channel, message appender, report bus.DeliveryReport) {
	frame, err := message.AppendFrame(nil)
	if err != nil {
		// This cannot happen, because IDs, addresses and channel names are valid UTF-8.
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_ = e.bus.Publish(ctx, receiver, frame, report)
}

// isAnnounced reports whether the server tells clients that it receives requests on the channel of
// e. The server does not do so if e is suspended, or if another version of the service has taken
// over the channel.
func (e *endpoint) isAnnounced() bool {
	return !e.suspended && e.plan.engine.traits.Announces(e.plan.method) && e.inbound.current() == e
}
