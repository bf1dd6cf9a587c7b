package dynamic

import "time"

// RequestEventKind is the kind of a [RequestEvent].
type RequestEventKind uint8

const (
	// RequestReceived means that a server has received a request. The server may still drop it, for
	// example because it has expired or because the client selects another server.
	RequestReceived RequestEventKind = iota + 1
	// RequestExpired means that a server has dropped a request whose deadline had passed.
	RequestExpired
	// ClaimDecided reports the outcome of the claims for a request; see [ClaimOutcome]. It occurs
	// only if the method of the request requires a claim. On a server, the event is about the claim
	// of this server only.
	ClaimDecided
)

// ClaimOutcome is the result of the claims for one request.
type ClaimOutcome uint8

const (
	// ClaimGranted means on a server that the client has selected this server, which now handles
	// the request. On a conn, it means that a server was selected.
	ClaimGranted ClaimOutcome = iota + 1
	// ClaimLost means that the client has selected another server, or has given up the call. It
	// occurs on servers only.
	ClaimLost
	// ClaimTimedOut means that no server was selected in time. On a server, it means that this
	// server has given the request up before the client selected a server. A server does so if the
	// request expires, or if it stops serving the method or topic. It also does so if a limit for
	// waiting requests is reached (see [WithGrantTimeout] and [WithMaxPendingClaims]). On a conn,
	// no server has claimed the request in time, or there is no server.
	ClaimTimedOut
	// ClaimSkipped means that a server handles the request, or has answered it, without waiting to
	// be selected. This is usual if only one server receives the request, as with queue methods.
	ClaimSkipped
	// ClaimDeclined means on a server that it did not claim the request. For example, its affinity
	// was negative, a limit was reached, or it could not decode the request. On a conn, no claim
	// was acceptable.
	ClaimDeclined
)

// claimOutcomes contains the names of the outcomes.
var claimOutcomes = [...]string{
	ClaimGranted: "granted", ClaimLost: "lost", ClaimTimedOut: "timed_out", ClaimSkipped: "skipped", ClaimDeclined: "declined",
}

// String returns the name of the outcome, for example "granted".
func (o ClaimOutcome) String() string {
	if o == 0 || int(o) >= len(claimOutcomes) {
		return "unknown"
	}
	return claimOutcomes[o]
}

// RequestEvent describes what has happened to a request, or to a request to open a stream.
type RequestEvent struct {
	Kind RequestEventKind
	// Info describes the method and the topic.
	Info RPCInfo
	// Peer identifies the other side. On a server, it is the ID of the client. On a conn, it is the
	// ID of the server that was selected or has answered, or empty if there is none.
	Peer string
	// Late is the time from the deadline, by the client's clock, to the arrival of the request, by
	// this server's clock. It is set only for RequestExpired. It is 0 if the server cannot tell how
	// late the request is, because the two clocks may differ.
	Late time.Duration
	// Outcome and Wait are set only for ClaimDecided. Wait is the time from the arrival of the
	// request on the server, or from its publication by the conn, until the decision. It is 0 for
	// ClaimSkipped.
	Outcome ClaimOutcome
	Wait    time.Duration
}

// RequestEventHandler is called for each event of a request. Calls may be concurrent. The handler
// must not block, because the bus waits for it. If it panics, the panic is logged and passed to the
// hooks of [WithPanicHook].
type RequestEventHandler func(event RequestEvent)
