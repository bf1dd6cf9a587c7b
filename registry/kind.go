package registry

import "fmt"

// Kind tells how a method is called.
type Kind uint8

const (
	// KindSingle is a call that one server answers. It is the default.
	KindSingle Kind = iota
	// KindMulti is a call that every server answers.
	KindMulti
	// KindStream is a bidirectional stream between a client and one server.
	KindStream
	// KindSubscription is a feed of messages that servers publish and clients receive.
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

// Routing tells who takes a request, or for a subscription who receives a message.
type Routing uint8

const (
	// RoutingQueue gives a message to one receiver, chosen by the bus. It is the default.
	RoutingQueue Routing = iota
	// RoutingAffinity gives a request to the server that offers the best affinity.
	RoutingAffinity
	// RoutingMulti gives a message to every receiver.
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
