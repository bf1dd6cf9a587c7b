package dynamic

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/queue"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// connPresence keeps track of the servers of one service; see [transport.Traits.Announces]. Servers
// announce to all clients of the service that they join or leave.
//
// On a bus that does not count receivers, the conn sends a discovery request when it first uses a
// method and topic, and when the bus has lost its connection to the broker. On other buses, it does
// so when it first uses a queue method, and when a [selection.Directory] requires it.
//
// psrpc servers do not announce themselves, so the conn only knows those that have answered calls.
// If the broker denies access to the channels, the same holds for all servers.
type connPresence struct {
	conn *Conn
	// service is the wire name of the service.
	service string
	// announcements is the subscription to what servers send to all clients of the service. answers
	// is the subscription to the responses to discovery requests of this conn.
	announcements, answers transport.LazySubscription
	// denied reports whether the broker denies access to the channels for discovery. unicastDenied
	// reports whether it denies access to the channels of single servers.
	denied, unicastDenied atomic.Bool
	namesakes             namesakes
}

func newConnPresence(c *Conn, service *registry.Service) *connPresence {
	return &connPresence{
		conn:          c,
		service:       service.WireName(),
		namesakes:     namesakes{service: service, logger: c.options.logger},
		announcements: transport.LazySubscription{ClosedErr: errors.ErrClientClosed},
		answers:       transport.LazySubscription{ClosedErr: errors.ErrClientClosed},
	}
}

// subscribe subscribes to the channels on which servers announce themselves. If the broker denies
// access to them, subscribe turns discovery off and returns nil, because calls work without it.
func (p *connPresence) subscribe(ctx context.Context) error {
	if p.denied.Load() {
		return nil
	}
	err := p.announcements.Subscribe(ctx, p.conn.bus, bus.Channel(wire.PresenceChannel(p.service)), bus.Broadcast, p.onAnnouncement)
	if err == nil {
		err = p.answers.Subscribe(ctx, p.conn.bus, bus.Channel(wire.PresenceClientChannel(p.service, p.conn.ID())), bus.Broadcast, p.onAnswer)
	}
	if transport.IsPermissionDenied(err) {
		p.deny(err)
		return nil
	}
	return err
}

// deny turns discovery off and logs a warning. It is called when the broker denies access to the
// channels that discovery needs.
func (p *connPresence) deny(err error) {
	if p.denied.CompareAndSwap(false, true) {
		consequence := "multi calls last until their timeout"
		if p.conn.traits.CountsReceivers {
			consequence = "the more servers a queue has, the more a queue call costs"
		}
		p.conn.options.logger.Warn("dynpsrpc: the broker does not permit to discover servers: "+consequence,
			slog.String("service", p.service), slog.Any("error", err))
	}
}

// close closes the subscriptions.
func (p *connPresence) close() {
	p.announcements.Close()
	p.answers.Close()
}

// onAnnouncement is the bus.Handler for announcements. It never blocks.
func (p *connPresence) onAnnouncement(frame []byte) { p.onPresence(frame, false) }

// onAnswer is the bus.Handler for responses to discovery requests. It never blocks.
func (p *connPresence) onAnswer(frame []byte) { p.onPresence(frame, true) }

func (p *connPresence) onPresence(frame []byte, isAnswer bool) {
	c := p.conn
	presence, _, err := transport.Decode(frame, wire.KindPresence, c.options.decompression(), wire.ParsePresence)
	if err != nil {
		c.drops.addBad(bus.Channel(wire.PresenceChannel(p.service)), err)
		return
	}
	p.namesakes.check(&presence)
	server := string(presence.ServerID)
	for _, channel := range presence.Channels {
		c.mu.Lock()
		membership := c.memberships.find(string(channel))
		c.mu.Unlock()
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

func (p *connPresence) updateDirectory(directory *selection.Directory, presence *wire.Presence) {
	switch {
	case len(presence.Address) == 0:
	case presence.State == wire.PresenceServing:
		directory.Add(p.service, string(presence.ServerID), string(presence.Address), string(presence.Receiver))
	case presence.State == wire.PresenceDraining, presence.State == wire.PresenceLeft:
		directory.Remove(string(presence.Address))
	}
}

// ask sends a discovery request for the request channel of a route. It sends nothing if discovery
// is turned off, if the servers are already known, or if responses to an earlier discovery request
// may still arrive.
func (p *connPresence) ask(r *route) {
	c := p.conn
	if p.denied.Load() || !r.membership.StartDiscovery(c.disconnects()) {
		return
	}
	// If the broker loses the discovery request, the conn still discovers the servers when they
	// answer calls.
	if err := p.discover(bus.Channel(wire.DiscoverChannel(p.service)), r.requests.Name, p); err != nil {
		r.membership.Lost()
		p.Delivered(bus.Unknown, err)
	}
}

// askAgain sends another discovery request, without blocking. If answered is empty, the first one
// may have been lost, or a server that the conn does not know has sent a message.
//
// Otherwise, answered holds the addresses of the servers that have responded, one of which has
// reported more servers. The missing ones have most likely been killed. The first server in
// answered checks this and tells all clients, so that none waits for them; see
// [wire.Discover.Answered].
func (p *connPresence) askAgain(requests string, answered []string) {
	if p.denied.Load() || len(answered) > wire.MaxAnswered {
		return
	}
	addresses := make([][]byte, len(answered))
	for i, address := range answered {
		addresses[i] = []byte(address)
	}
	// goTracked fails only if the conn is closed. No discovery request is needed then.
	_ = p.conn.goTracked(func() {
		_ = p.discover(bus.Channel(wire.DiscoverChannel(p.service)), requests, p, addresses...)
	})
}

// discover publishes a discovery request on channel. It asks for the servers that subscribe to the
// request channel named requests. Servers whose addresses are in answered do not respond, because
// they have responded to an earlier discovery request. report receives the outcome of publishing.
func (p *connPresence) discover(channel bus.Channel, requests string, report bus.DeliveryReport, answered ...[]byte) error {
	c := p.conn
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
func (p *connPresence) Delivered(_ int, err error) {
	if transport.IsPermissionDenied(err) {
		p.deny(err)
	}
}

// disconnects returns the number of times that the bus has lost its connection. Announcements may
// have been lost each time.
func (c *Conn) disconnects() uint64 {
	if monitored, ok := c.rawBus.(bus.Monitored); ok {
		return monitored.Stats().Disconnects
	}
	return 0
}

// watch makes the membership of the route wake w when servers join or leave, until unwatch is
// called. The call must add each server that has answered to responders. watch must be called
// before the request of the call is sent.
func (p *clientPlan) watch(r *route, w queue.Wakeup, responders *selection.Responders) {
	if p.presence != nil {
		r.membership.Watch(w, responders)
	}
}

// discover sends a discovery request for the request channel of the route, if the conn must know
// its servers and does not know them yet. It must be called before the call asks the membership
// whether all servers have answered.
func (p *clientPlan) discover(r *route) {
	if p.presence != nil {
		p.presence.ask(r)
	}
}

func (p *clientPlan) unwatch(r *route, w queue.Wakeup) {
	if p.presence != nil {
		r.membership.Unwatch(w)
	}
}
