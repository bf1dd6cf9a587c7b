package registry

import "fmt"

// Kind is the kind of a method: how clients call it.
type Kind uint8

const (
	// KindSingle is a call to one server, with one response. It is the default.
	KindSingle Kind = iota
	// KindMulti is a call to all servers, with one response from each.
	KindMulti
	// KindStream is a bidirectional stream between a client and one server.
	KindStream
	// KindSubscription is a method whose messages servers publish and clients receive.
	KindSubscription
)

// String returns "single", "multi", "stream" or "subscription".
func (k Kind) String() string {
	switch k {
	case KindSingle:
		return "single"
	case KindMulti:
		return "multi"
	case KindStream:
		return "stream"
	case KindSubscription:
		return "subscription"
	default:
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
}

// Routing determines which servers receive a request, or which subscribers receive an update.
type Routing uint8

const (
	// RoutingQueue delivers each message to one receiver, chosen by the bus. It is the default.
	RoutingQueue Routing = iota
	// RoutingAffinity delivers each request to the server that claims it with the best affinity.
	RoutingAffinity
	// RoutingMulti delivers each message to all receivers.
	RoutingMulti
)

// String returns "queue", "affinity" or "multi".
func (r Routing) String() string {
	switch r {
	case RoutingQueue:
		return "queue"
	case RoutingAffinity:
		return "affinity"
	case RoutingMulti:
		return "multi"
	default:
		return fmt.Sprintf("routing(%d)", uint8(r))
	}
}
