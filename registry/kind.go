package registry

import "fmt"

// Kind specifies how clients call a method.
type Kind uint8

const (
	// KindSingle is a call to one server, which returns one response. It is the default.
	KindSingle Kind = iota
	// KindMulti is a call to all servers, each of which returns one response.
	KindMulti
	// KindStream is a bidirectional stream between a client and one server.
	KindStream
	// KindSubscription is a method whose updates are published to the clients that subscribe to it.
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

// Routing determines which servers receive a request or which subscribers receive an update.
type Routing uint8

const (
	// RoutingQueue delivers each message to a single receiver, which the bus chooses. It is the
	// default.
	RoutingQueue Routing = iota
	// RoutingAffinity assigns each request to the server that claims it with the highest affinity.
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
