package fleet

import "fmt"

// Part is a part of a [Server] that an answer contains only if it was asked for.
type Part int32

const (
	// PartServices asks for the services and their methods.
	PartServices Part = iota + 1
	// PartStats asks for the counters of each method. It includes PartServices.
	PartStats
	// PartHealth asks for the health.
	PartHealth
	// PartTopics asks for the topics of each method. It includes PartServices.
	PartTopics
	// PartBus asks for the state and counters of the bus.
	PartBus
	// PartRuntime asks for the state of the process.
	PartRuntime
	// PartPlugins asks for the plugins.
	PartPlugins
)

// String returns the name of the part, such as "services".
func (p Part) String() string {
	return enumName(p, "part", "unspecified", "services", "stats", "health", "topics", "bus", "runtime", "plugins")
}

// State is the state of a [Server].
type State int32

const (
	// StateStarting means that the server does not serve yet.
	StateStarting State = iota
	// StateServing means that the server accepts requests.
	StateServing
	// StateDraining means that the server accepts no new requests and finishes the requests that it
	// has already received.
	StateDraining
)

// String returns "starting", "serving" or "draining".
func (s State) String() string { return enumName(s, "state", "starting", "serving", "draining") }

// ServingStatus is the health of a server, of a service or of a check. The values are those of
// grpc.health.v1.
type ServingStatus int32

const (
	// StatusUnknown means that the health is not known.
	StatusUnknown ServingStatus = iota
	// StatusServing means that the server, service or check is healthy.
	StatusServing
	// StatusNotServing means that the server, service or check is not healthy.
	StatusNotServing
)

// String returns "unknown", "serving" or "not_serving".
func (s ServingStatus) String() string {
	return enumName(s, "status", "unknown", "serving", "not_serving")
}

// ChangeKind is the kind of a [Change].
type ChangeKind int32

const (
	// ChangeStarted means that the program has called [Serve] for the server.
	ChangeStarted ChangeKind = iota + 1
	// ChangeServiceAdded means that the server serves another service.
	ChangeServiceAdded
	// ChangeServiceRemoved means that the server no longer serves a service.
	ChangeServiceRemoved
	// ChangeReplaced means that the server serves another version of a service.
	ChangeReplaced
	// ChangeHealth means that the health of the server or of a service has changed.
	ChangeHealth
	// ChangeDraining means that the server accepts no new requests.
	ChangeDraining
	// ChangeStopped means that the server has stopped, or that its program has called
	// [Status.Close].
	ChangeStopped
	// ChangeResumed means that a draining server accepts requests again.
	ChangeResumed
)

// String returns the name of the kind, such as "service_added".
func (k ChangeKind) String() string {
	return enumName(k, "change", "unspecified", "started", "service_added", "service_removed", "replaced", "health",
		"draining", "stopped", "resumed")
}

// TapKind is the kind of a [TapEvent].
type TapKind int32

const (
	// TapRequested is a request that the server received.
	TapRequested TapKind = iota + 1
	// TapResponse is a response that the server sent.
	TapResponse
	// TapError is an error that the server sent instead of a response.
	TapError
	// TapOpen is a stream that was opened.
	TapOpen
	// TapMessageIn is a message that arrived on a stream.
	TapMessageIn
	// TapMessageOut is a message that the server sent on a stream.
	TapMessageOut
	// TapClose is a stream that was closed.
	TapClose
	// TapUpdate is an update that the server published.
	TapUpdate
	// TapClaim is a claim: the server offers to handle a request.
	TapClaim
	// TapDecline is a request that the server has declined.
	TapDecline
)

// String returns the name of the kind, such as "message_in".
func (k TapKind) String() string {
	return enumName(k, "tap", "unspecified", "request", "response", "error", "open", "message_in", "message_out",
		"close", "update", "claim", "decline")
}

// enumName returns the name of a value. If a newer peer has sent a value that has no name here, the
// result contains the number.
func enumName[T ~int32](value T, kind string, names ...string) string {
	if value < 0 || int(value) >= len(names) {
		return fmt.Sprintf("%s(%d)", kind, value)
	}
	return names[value]
}
