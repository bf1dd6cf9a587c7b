package metrics

import (
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// Record receives one value from a [Source]: the total of a [Counter] or the current value of a
// [Gauge]. labels contains one label for each key of the instrument.
type Record func(instrument *Instrument, value float64, labels ...string)

// Source reports the current state of an object by calling report once for each value. A Source
// must be safe for concurrent use, and must report the same instruments every time it is called.
type Source func(report Record)

// nothing is the source of an object that is nil or has no statistics. It reports nothing.
func nothing(Record) {}

func counter(name, description, unit string, keys ...string) *Instrument {
	return &Instrument{Name: name, Description: description, Unit: unit, Kind: Counter, Keys: keys}
}

func gauge(name, description, unit string, keys ...string) *Instrument {
	return &Instrument{Name: name, Description: description, Unit: unit, Kind: Gauge, Keys: keys}
}

const (
	keyBus          = "dynpsrpc.bus"
	keyServer       = "dynpsrpc.server"
	keyConn         = "dynpsrpc.conn"
	keySubscription = "dynpsrpc.subscription"
	keyReason       = "dynpsrpc.reason"
)

var (
	busConnected     = gauge("dynpsrpc.bus.connected", "1 if the bus is connected to its broker, otherwise 0.", "1", keyBus)
	busReconnects    = counter("dynpsrpc.bus.reconnects", "Number of reconnects to the broker.", "{reconnect}", keyBus)
	busPublished     = counter("dynpsrpc.bus.published", "Frames published to the broker.", "{frame}", keyBus)
	busPublishErrors = counter("dynpsrpc.bus.publish_errors", "Frames accepted for publication that could not be sent to the broker.", "{frame}", keyBus)
	busReceived      = counter("dynpsrpc.bus.received", "Frames received from the broker.", "{frame}", keyBus)
	busDropped       = counter("dynpsrpc.bus.dropped", "Frames lost between the broker and this process.", "{frame}", keyBus, keyReason)
)

// BusSource returns a source that reports the state of a bus: whether it is connected, and the
// numbers of reconnects, published frames, frames that could not be sent, received frames and
// dropped frames. Dropped frames are reported by the reasons in [bus.Stats.DroppedBy], and as
// "unknown" if they are not in that map. name identifies the bus and must be unique. The source
// reports nothing if the bus is nil or, like the in-process bus, does not implement
// [bus.Monitored].
func BusSource(name string, b bus.Bus) Source {
	monitored, isMonitored := b.(bus.Monitored)
	if !isMonitored || nilarg.Is(b) {
		return nothing
	}
	return func(report Record) {
		stats := monitored.Stats()
		connected, reconnects := 0.0, float64(stats.Disconnects)
		if stats.Connected {
			connected = 1
		} else {
			// The last disconnect has not been followed by a reconnect yet.
			reconnects = max(0, reconnects-1)
		}
		report(busConnected, connected, name)
		report(busReconnects, reconnects, name)
		report(busPublished, float64(stats.Published), name)
		report(busPublishErrors, float64(stats.PublishErrors), name)
		report(busReceived, float64(stats.Received), name)
		unknown := stats.Dropped
		for reason, frames := range stats.DroppedBy {
			report(busDropped, float64(frames), name, reason)
			unknown -= min(frames, unknown)
		}
		report(busDropped, float64(unknown), name, "unknown")
	}
}

var (
	serverWaiting = gauge("dynpsrpc.server.waiting", "Received stream messages not yet read.", "{message}", keyServer)
	serverDropped = counter("dynpsrpc.server.dropped", "Frames dropped by a server.", "{frame}", keyServer, keyReason)
)

// ServerSource returns a source that reports the state of a server: the number of unread messages
// in its streams, and the number of dropped frames by reason (see [dynamic.ServerStats]). name
// identifies the server and must be unique. If server is nil, the source reports nothing.
func ServerSource(name string, server *dynamic.Server) Source {
	if server == nil {
		return nothing
	}
	return func(report Record) {
		stats := server.Stats()
		report(serverWaiting, float64(stats.Waiting), name)
		report(serverDropped, float64(stats.BadFrames), name, "bad_frame")
		report(serverDropped, float64(stats.Expired), name, "expired")
		report(serverDropped, float64(stats.Duplicated), name, "duplicated")
		report(serverDropped, float64(stats.Unmatched), name, "unmatched")
		report(serverDropped, float64(stats.Overflowed), name, "overflowed")
		report(serverDropped, float64(stats.Unsent), name, "unsent")
		report(serverDropped, float64(stats.Evicted), name, "evicted")
		report(serverDropped, float64(stats.Refused), name, "refused")
	}
}

var (
	connWaiting = gauge("dynpsrpc.conn.waiting", "Received stream messages not yet read.", "{message}", keyConn)
	connDropped = counter("dynpsrpc.conn.dropped", "Frames dropped by a conn.", "{frame}", keyConn, keyReason)
)

// ConnSource returns a source that reports the state of a conn: the number of unread messages in
// its streams, and the number of dropped frames by reason (see [dynamic.ConnStats]). name
// identifies the conn and must be unique. If conn is nil, the source reports nothing.
func ConnSource(name string, conn *dynamic.Conn) Source {
	if conn == nil {
		return nothing
	}
	return func(report Record) {
		stats := conn.Stats()
		report(connWaiting, float64(stats.Waiting), name)
		report(connDropped, float64(stats.BadFrames), name, "bad_frame")
		report(connDropped, float64(stats.Unmatched), name, "unmatched")
		report(connDropped, float64(stats.Expired), name, "expired")
		report(connDropped, float64(stats.Duplicated), name, "duplicated")
		report(connDropped, float64(stats.Overflowed), name, "overflowed")
	}
}

var (
	subscriptionWaiting  = gauge("dynpsrpc.subscription.waiting", "Received updates not yet read.", "{update}", keySubscription)
	subscriptionReceived = counter("dynpsrpc.subscription.received", "Updates received from the bus.", "{update}", keySubscription)
	subscriptionDropped  = counter("dynpsrpc.subscription.dropped", "Dropped updates.", "{update}", keySubscription, keyReason)
)

// SubscriptionSource returns a source that reports the state of a subscription: the numbers of
// unread and received updates, and the number of dropped updates by reason (see
// [dynamic.SubscriptionStats]). name identifies the subscription and must be unique. If
// subscription is nil, the source reports nothing.
func SubscriptionSource[Resp proto.Message](name string, subscription dynamic.Subscription[Resp]) Source {
	if nilarg.Is(subscription) {
		return nothing
	}
	return func(report Record) {
		stats := subscription.Stats()
		report(subscriptionWaiting, float64(stats.Waiting), name)
		report(subscriptionReceived, float64(stats.Received), name)
		report(subscriptionDropped, float64(stats.Dropped), name, "overflow")
		report(subscriptionDropped, float64(stats.BadFrames), name, "bad_frame")
		report(subscriptionDropped, float64(stats.Refused), name, "refused")
	}
}
