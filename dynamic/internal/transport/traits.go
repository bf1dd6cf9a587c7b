package transport

import (
	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Traits contains the properties of a bus that determine whether clients must know which servers
// serve a method.
type Traits struct {
	// CountsReceivers reports whether the bus counts the receivers of the frames that it publishes.
	CountsReceivers bool
	// ReceiverID is the ID by which clients recognize servers that share a connection to the bus;
	// see [bus.Competing.ReceiverID]. It is empty if the bus does not count receivers or does not
	// implement [bus.Competing].
	ReceiverID string
	// ReportsNone reports whether the bus reports that a frame has had no receivers. On other
	// buses, a client does not notice if a server to which it has sent a frame is gone.
	ReportsNone bool
}

// TraitsOf returns the traits of a bus.
func TraitsOf(b bus.Bus) (t Traits) {
	counter, ok := b.(bus.ReceiverCounter)
	t.CountsReceivers = !ok || counter.CountsReceivers()
	receiverID := ""
	if competing, ok := b.(bus.Competing); ok {
		receiverID = competing.ReceiverID()
	}
	if t.CountsReceivers {
		t.ReceiverID = receiverID
	}
	// A node of a Redis Cluster without sharded pub/sub does not know the receivers of other nodes.
	t.ReportsNone = t.CountsReceivers || receiverID == ""
	return t
}

// Unicasts reports whether the requests of a method are sent to the unicast channels of servers if
// possible. This is the case for single calls to queue methods if the bus counts receivers and
// implements [bus.Competing].
func (t Traits) Unicasts(m *registry.Method) bool {
	return t.ReceiverID != "" && m.Queue() && m.Kind() == registry.KindSingle
}

// ReachesAllServers reports whether all servers of a method receive each request and answer it.
func ReachesAllServers(m *registry.Method) bool {
	return !m.Queue() && m.Kind() != registry.KindSubscription
}

// OffersCandidates reports whether the servers of a method announce unicast channels, so that
// clients can ask some of them instead of all of them. This is the case for single calls with
// affinity routing, except on the in-process bus.
func (t Traits) OffersCandidates(m *registry.Method) bool {
	return (t.ReceiverID != "" || !t.CountsReceivers) && m.Kind() == registry.KindSingle && m.Routing() == registry.RoutingAffinity
}

// AwaitsAll reports whether clients must find out on their own how many servers will answer a
// request. This is the case if all servers of the method answer, but the bus does not count
// receivers.
func (t Traits) AwaitsAll(m *registry.Method) bool { return !t.CountsReceivers && ReachesAllServers(m) }

// Announces reports whether the servers of a method announce themselves to clients.
func (t Traits) Announces(m *registry.Method) bool {
	return t.Unicasts(m) || t.OffersCandidates(m) || t.AwaitsAll(m)
}
