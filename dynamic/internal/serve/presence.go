package serve

import (
	"context"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
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

// publishPresence publishes a message about this server on the bus channel receiver. state says
// whether this server receives the requests on the channels named in channels. members is the
// number of servers that receive them, or 0 if it is not known or not needed; see
// [wire.Presence.Members].
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
