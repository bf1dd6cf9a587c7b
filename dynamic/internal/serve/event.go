package serve

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Event describes what has happened to a request, or to a request to open a stream.
type Event struct {
	Kind   EventKind
	Method *registry.Method
	// Topic holds the parts of the topic. It must not be modified.
	Topic []string
	// Peer is the ID of the client.
	Peer string
	// Late is the time from the deadline, by the client's clock, to the arrival of the request, by
	// this server's clock. It is set only for RequestExpired. It is 0 if the server cannot tell how
	// late the request is, because the two clocks may differ.
	Late time.Duration
	// Outcome and Wait are set only for ClaimDecided. Wait is the time from the arrival of the
	// request until the decision. It is 0 for ClaimSkipped.
	Outcome ClaimOutcome
	Wait    time.Duration
}

// EventKind is the kind of an [Event].
type EventKind uint8

const (
	// RequestReceived means that the server has received a request. The server may still drop the
	// request.
	RequestReceived EventKind = iota + 1
	// RequestExpired means that the server has dropped a request whose deadline had passed.
	RequestExpired
	// ClaimDecided reports the outcome of this server's claim. It occurs only if the method of the
	// request requires a claim.
	ClaimDecided
)

// ClaimOutcome is the result of a server's claim for one request.
type ClaimOutcome uint8

const (
	// ClaimGranted means that the client has selected this server, which now handles the request.
	ClaimGranted ClaimOutcome = iota + 1
	// ClaimLost means that the client has selected another server, or has given up the call.
	ClaimLost
	// ClaimTimedOut means that this server has given the request up before the client selected a
	// server. It does so if the request expires, if it stops serving the method or topic, or if a
	// limit for waiting requests is reached.
	ClaimTimedOut
	// ClaimSkipped means that this server handles the request, or has answered it, without waiting
	// until it is selected.
	ClaimSkipped
	// ClaimDeclined means that this server did not claim the request. For example, its affinity was
	// negative, a limit was reached, or it could not decode the request.
	ClaimDeclined
)
