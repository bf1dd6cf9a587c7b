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
	// maxAnnouncedChannels is the maximum number of channels in one announcement.
	maxAnnouncedChannels = 100
)

// subscribeDiscovery subscribes to the discovery requests of clients, and to the unicast channel of
// the server if clients send requests to it. It does nothing if clients need not know the servers of
// the service; see [transport.Traits.Announces]. If the broker does not permit a subscription,
// subscribeDiscovery logs one warning and returns nil.
func (r *Registration) subscribeDiscovery(ctx context.Context) error {
	traits := r.server.traits
	if !r.hasMethod(traits.Announces) {
		return nil
	}
	consequence := "clients do not know this server, so that multi calls last until their timeout"
	if traits.CountsReceivers {
		consequence = "clients do not know this server: the more servers a queue has, the more a queue call costs"
	}
	channel := bus.Channel(wire.DiscoverChannel(r.service.WireName()))
	err := r.subscribeIfPermitted(ctx, &r.discoverySubscription, channel, r.onDiscover,
		"the broker does not permit to subscribe to discovery: "+consequence)
	if err != nil || !r.discoverySubscription.IsOpen() || !r.hasMethod(traits.Unicasts) {
		return err
	}
	return r.subscribeUnicast(ctx)
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
	e := r.endpoint(discover.Channel)
	if e == nil || !e.isAnnounced() || e.isClosing() {
		return
	}
	answer := &discoveryAnswer{r, bus.Channel(wire.PresenceClientChannel(r.service.WireName(), string(discover.ClientID))), e}
	r.server.workers.Go(answer)
}

// discoveryAnswer is a task for the server's worker pool. The task is to answer a discovery request
// for the channel of an endpoint.
type discoveryAnswer struct {
	registration *Registration
	client       bus.Channel
	endpoint     *endpoint
}

// serve implements task.
func (a *discoveryAnswer) serve() {
	a.registration.publishPresence(a.client, wire.PresenceServing, []*endpoint{a.endpoint})
}

// announce tells all clients of the service whether this server receives requests on the channels
// of endpoints.
func (r *Registration) announce(state wire.PresenceState, endpoints ...*endpoint) {
	// Topics may come and go often, and many conns of the service may be listening. If the bus counts
	// receivers, clients notice that a topic has other servers than before.
	omitsTopics := r.server.traits.CountsReceivers
	endpoints = slices.DeleteFunc(slices.Clone(endpoints), func(e *endpoint) bool {
		return !e.isAnnounced() || omitsTopics && len(e.topic) > 0
	})
	channel := bus.Channel(wire.PresenceChannel(r.service.WireName()))
	for part := range slices.Chunk(endpoints, maxAnnouncedChannels) {
		r.publishPresence(channel, state, part)
	}
}

func (r *Registration) publishPresence(channel bus.Channel, state wire.PresenceState, endpoints []*endpoint) {
	presence := wire.Presence{ServerID: r.server.wireID, State: state}
	if r.unicast.subscription.IsOpen() {
		presence.Address, presence.Receiver = []byte(r.unicast.address), []byte(r.server.traits.ReceiverID)
	}
	for _, e := range endpoints {
		presence.Channels = append(presence.Channels, []byte(e.name))
	}
	frame, err := presence.AppendFrame(nil)
	if err != nil {
		// This cannot happen, because server IDs and channel names are valid UTF-8.
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), announceTimeout)
	defer cancel()
	// If the announcement is lost, clients discover this server when it responds to a call.
	_ = r.server.bus.Publish(ctx, channel, frame, nil)
}

// isAnnounced reports whether the server tells clients that it receives requests on the channel of
// e. The server does not do so if another version of the service has taken over the channel.
func (e *endpoint) isAnnounced() bool {
	return e.plan.server.traits.Announces(e.plan.method) && e.inbound.current() == e
}
