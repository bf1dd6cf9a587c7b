package call

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// presence keeps track of the servers of one service; see [transport.Traits.Announces]. Servers
// announce to all clients of the service that they join or leave.
//
// On a bus that does not count receivers, the engine sends a discovery request when it first uses a
// method and topic, and again after the bus has lost its connection. On other buses, it does so
// when it first uses a queue method, and when a [selection.Directory] requires it.
//
// psrpc servers do not announce themselves, so the engine knows them only after they have answered
// calls. If the broker denies access to the discovery channels, this applies to all servers.
type presence struct {
	core *core
	// service is the wire name of the service.
	service string
	// announcements is the subscription on which servers announce themselves to all clients of the
	// service. answers is the subscription to the responses to this engine's discovery requests.
	announcements, answers transport.LazySubscription
	// denied reports whether the broker denies access to the channels for discovery. unicastDenied
	// reports whether it denies access to the channels of single servers.
	denied, unicastDenied atomic.Bool
	namesakes             transport.Namesakes
}

func newPresence(c *core, service *registry.Service) *presence {
	return &presence{
		core:          c,
		service:       service.WireName(),
		namesakes:     transport.Namesakes{Service: service, Logger: c.config.Logger},
		announcements: transport.LazySubscription{ClosedErr: errors.ErrClientClosed},
		answers:       transport.LazySubscription{ClosedErr: errors.ErrClientClosed},
	}
}

// subscribe subscribes to the channels on which servers announce themselves and answer discovery
// requests. If the broker denies access to them, subscribe turns discovery off and returns nil,
// because calls work without it.
func (p *presence) subscribe(ctx context.Context) error {
	if p.denied.Load() {
		return nil
	}
	err := p.announcements.Subscribe(ctx, p.core.bus, bus.Channel(wire.PresenceChannel(p.service)), bus.Broadcast, p.onAnnouncement)
	if err == nil {
		err = p.answers.Subscribe(ctx, p.core.bus, bus.Channel(wire.PresenceClientChannel(p.service, p.core.config.ClientID)), bus.Broadcast, p.onAnswer)
	}
	if transport.IsPermissionDenied(err) {
		p.deny(err)
		return nil
	}
	return err
}

// deny turns discovery off and logs a warning. It is called when the broker denies access to the
// channels that discovery needs.
func (p *presence) deny(err error) {
	if p.denied.CompareAndSwap(false, true) {
		consequence := "multi calls last until their timeout"
		if p.core.traits.CountsReceivers {
			consequence = "the more servers a queue has, the more a queue call costs"
		}
		p.core.config.Logger.Warn("dynpsrpc: the broker does not permit to discover servers: "+consequence,
			slog.String("service", p.service), slog.Any("error", err))
	}
}

// close closes the subscriptions.
func (p *presence) close() {
	p.announcements.Close()
	p.answers.Close()
}

// onAnnouncement is the bus.Handler for announcements. It never blocks.
func (p *presence) onAnnouncement(frame []byte) { p.onPresence(frame, false) }

// onAnswer is the bus.Handler for responses to discovery requests. It never blocks.
func (p *presence) onAnswer(frame []byte) { p.onPresence(frame, true) }

func (p *presence) onPresence(frame []byte, isAnswer bool) {
	c := p.core
	presence, _, err := transport.Decode(frame, wire.KindPresence, c.config.Decompression, wire.ParsePresence)
	if err != nil {
		c.drops.AddBad(bus.Channel(wire.PresenceChannel(p.service)), err)
		return
	}
	p.namesakes.Check(&presence)
	server := string(presence.ServerID)
	for _, channel := range presence.Channels {
		membership := c.memberships.find(string(channel))
		if membership == nil {
			continue
		}
		p.updateDirectory(&membership.Directory, &presence)
		switch {
		case c.traits.CountsReceivers:
		case isAnswer && presence.State == wire.PresenceServing:
			membership.OnAnswer(server, string(presence.Address), presence.Members)
		default:
			membership.OnPresence(server, presence.State)
		}
	}
}

func (p *presence) updateDirectory(directory *selection.Directory, presence *wire.Presence) {
	switch {
	case len(presence.Address) == 0:
	case presence.State == wire.PresenceServing:
		directory.Add(p.service, string(presence.ServerID), string(presence.Address), string(presence.Receiver))
	case presence.State == wire.PresenceDraining, presence.State == wire.PresenceLeft:
		directory.Remove(string(presence.Address))
	}
}

// ask sends a discovery request for the request channel named requests. membership records the
// servers of that channel. ask sends nothing if discovery is turned off, if the servers are already
// known, or if responses to an earlier discovery request may still arrive.
func (p *presence) ask(requests string, membership *selection.Membership) {
	if p.denied.Load() || !membership.StartDiscovery(p.core.disconnects()) {
		return
	}
	// If the broker loses the discovery request, the engine still discovers the servers when they
	// answer calls.
	if err := p.discover(bus.Channel(wire.DiscoverChannel(p.service)), requests, p); err != nil {
		membership.Lost()
		p.Delivered(bus.Unknown, err)
	}
}

// askAgain sends another discovery request, without blocking. It implements asker.
// [selection.Membership.AskAgain] explains when it is called, and what answered contains.
//
// If answered is not empty, some servers have not responded, most likely because they were killed.
// The first server in answered checks this and tells all clients, so that they do not wait for the
// missing servers; see [wire.Discover.Answered].
func (p *presence) askAgain(requests string, answered []string) {
	if p.denied.Load() || len(answered) > wire.MaxAnswered {
		return
	}
	addresses := make([][]byte, len(answered))
	for i, address := range answered {
		addresses[i] = []byte(address)
	}
	// Go fails only if the engine is closed. No discovery request is needed then.
	_ = p.core.Go(func() {
		_ = p.discover(bus.Channel(wire.DiscoverChannel(p.service)), requests, p, addresses...)
	})
}

// discover publishes a discovery request on channel. It asks for the servers that subscribe to the
// request channel named requests. Servers whose addresses are in answered do not respond, because
// they have responded to an earlier discovery request. report receives the outcome of publishing.
func (p *presence) discover(channel bus.Channel, requests string, report bus.DeliveryReport, answered ...[]byte) error {
	c := p.core
	frame, err := (&wire.Discover{ClientID: c.wireID, Channel: []byte(requests), Answered: answered}).AppendFrame(nil)
	if err != nil {
		// Encoding cannot fail here, because client IDs and channel names are valid UTF-8.
		return err
	}
	ctx, cancel := context.WithTimeout(c.ctx, cancelTimeout)
	defer cancel()
	return c.bus.Publish(ctx, channel, frame, report)
}

// Delivered implements bus.DeliveryReport for discovery requests. It turns discovery off if the
// broker has denied one.
func (p *presence) Delivered(_ int, err error) {
	if transport.IsPermissionDenied(err) {
		p.deny(err)
	}
}
