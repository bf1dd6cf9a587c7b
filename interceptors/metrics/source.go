package metrics

import (
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// Record takes what a [Source] knows: the value of a [Counter] since its beginning, or of a [Gauge] now, and a label for
// each key of the instrument.
type Record func(instrument *Instrument, value float64, labels ...string)

// Source reports the state of something when it is called. It must be safe for concurrent use and report the same
// instruments and labels each time.
type Source func(report Record)

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
	busConnected     = gauge("dynpsrpc.bus.connected", "1 while the broker is within reach, else 0.", "1", keyBus)
	busReconnects    = counter("dynpsrpc.bus.reconnects", "How often the broker came back into reach.", "{reconnect}", keyBus)
	busPublished     = counter("dynpsrpc.bus.published", "Frames handed to the broker.", "{frame}", keyBus)
	busPublishErrors = counter("dynpsrpc.bus.publish_errors", "Frames that were taken, but never reached the broker.", "{frame}", keyBus)
	busReceived      = counter("dynpsrpc.bus.received", "Frames that came from the broker.", "{frame}", keyBus)
	busDropped       = counter("dynpsrpc.bus.dropped", "Frames known to be lost between the broker and this process.", "{frame}", keyBus)
)

// BusSource reports on a bus, by a name of its own: whether it is connected, its reconnections, and the frames that it has
// sent, received and lost. Of a bus that is not [bus.Monitored], such as the in-process one, there is nothing to report.
func BusSource(name string, b bus.Bus) Source {
	monitored, isMonitored := b.(bus.Monitored)
	return func(report Record) {
		if !isMonitored {
			return
		}
		stats := monitored.Stats()
		connected, reconnects := 0.0, float64(stats.Disconnects)
		if stats.Connected {
			connected = 1
		} else {
			reconnects = max(0, reconnects-1) // it is not back from the last one
		}
		report(busConnected, connected, name)
		report(busReconnects, reconnects, name)
		report(busPublished, float64(stats.Published), name)
		report(busPublishErrors, float64(stats.PublishErrors), name)
		report(busReceived, float64(stats.Received), name)
		report(busDropped, float64(stats.Dropped), name)
	}
}

var (
	serverWaiting = gauge("dynpsrpc.server.waiting", "Stream messages that wait for their reader.", "{message}", keyServer)
	serverDropped = counter("dynpsrpc.server.dropped", "Frames that a server dropped.", "{frame}", keyServer, keyReason)
)

// ServerSource reports on a server, by a name of its own: the messages that wait in its streams, and the frames that it has
// dropped, by reason, see [dynamic.ServerStats].
func ServerSource(name string, server *dynamic.Server) Source {
	return func(report Record) {
		stats := server.Stats()
		report(serverWaiting, float64(stats.Waiting), name)
		report(serverDropped, float64(stats.BadFrames), name, "bad_frame")
		report(serverDropped, float64(stats.Expired), name, "expired")
		report(serverDropped, float64(stats.Duplicated), name, "duplicated")
		report(serverDropped, float64(stats.Unmatched), name, "unmatched")
		report(serverDropped, float64(stats.Overflowed), name, "overflowed")
	}
}

var (
	connWaiting = gauge("dynpsrpc.conn.waiting", "Stream messages that wait for their reader.", "{message}", keyConn)
	connDropped = counter("dynpsrpc.conn.dropped", "Frames that a conn dropped.", "{frame}", keyConn, keyReason)
)

// ConnSource reports on a conn, by a name of its own: the messages that wait in its streams, and the frames that it has
// dropped, by reason, see [dynamic.ConnStats].
func ConnSource(name string, conn *dynamic.Conn) Source {
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
	subscriptionWaiting  = gauge("dynpsrpc.subscription.waiting", "Updates that wait for their reader.", "{update}", keySubscription)
	subscriptionReceived = counter("dynpsrpc.subscription.received", "Updates that came from the bus.", "{update}", keySubscription)
	subscriptionDropped  = counter("dynpsrpc.subscription.dropped", "Updates that were dropped.", "{update}", keySubscription, keyReason)
)

// SubscriptionSource reports on a subscription, by a name of its own: the updates that wait for their reader, those that came
// and those that were dropped, by reason, see [dynamic.SubscriptionStats].
func SubscriptionSource[Resp proto.Message](name string, subscription dynamic.Subscription[Resp]) Source {
	return func(report Record) {
		stats := subscription.Stats()
		report(subscriptionWaiting, float64(stats.Waiting), name)
		report(subscriptionReceived, float64(stats.Received), name)
		report(subscriptionDropped, float64(stats.Dropped), name, "overflow")
		report(subscriptionDropped, float64(stats.BadFrames), name, "bad_frame")
		report(subscriptionDropped, float64(stats.Refused), name, "refused")
	}
}
