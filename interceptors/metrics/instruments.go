package metrics

import (
	"slices"
)

const (
	keySystem = "rpc.system.name"
	keyMethod = "rpc.method"
	keyStatus = "rpc.response.status_code"
	keyError  = "error.type"
	keyTopic  = "dynpsrpc.topic"
	keyEvent  = "dynpsrpc.event"
	keyClaim  = "dynpsrpc.claim"

	system = "psrpc"
	ok     = "ok"
)

var (
	// The semantic conventions of OpenTelemetry recommend the buckets in secondBuckets.
	secondBuckets = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	byteBuckets   = []float64{64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20}
)

// callInstruments holds the instruments for one kind of operation, such as outgoing calls.
// Instruments that are nil are not observed.
type callInstruments struct {
	duration, active, sent, received, responses *Instrument
}

// instruments is a complete set of instruments. There are two sets, one with and one without the
// topic attribute. All interceptors share them.
type instruments struct {
	client, server, publication, delivery callInstruments

	// requests counts the events of requests on a server. serverClaims measures the time from the
	// arrival of a request to the outcome of the server's claim. clientClaims measures the time
	// from the publication of a request to the selection of a server. All three are observed only
	// with WithRequestEvents.
	requests, serverClaims, clientClaims *Instrument
}

var (
	withoutTopics = newInstruments(nil)
	withTopics    = newInstruments([]string{keyTopic})
)

func newInstruments(topic []string) *instruments {
	subject := slices.Concat([]string{keySystem, keyMethod}, topic)
	outcome := slices.Concat(subject, []string{keyStatus, keyError})
	seconds := func(name, description string) *Instrument {
		return &Instrument{name, description, "s", Histogram, outcome, secondBuckets}
	}
	bytes := func(name, description string) *Instrument {
		return &Instrument{name, description, "By", Histogram, subject, byteBuckets}
	}
	active := func(name, description string) *Instrument {
		return &Instrument{name, description, "{call}", UpDown, subject, nil}
	}
	claims := func(name, description string) *Instrument {
		return &Instrument{name, description, "s", Histogram, slices.Concat(subject, []string{keyClaim}), secondBuckets}
	}
	return &instruments{
		requests: &Instrument{
			"dynpsrpc.server.requests", "Requests that have arrived at a server, or that it has dropped because they had expired.",
			"{request}", Counter, slices.Concat(subject, []string{keyEvent}), nil,
		},
		serverClaims: claims("dynpsrpc.server.claim.duration", "Time from the arrival of a request until the outcome of the server's claim."),
		clientClaims: claims("dynpsrpc.client.claim.duration", "Time from the publication of a request until a server is selected."),
		client: callInstruments{
			duration: seconds("rpc.client.call.duration", "Measures the duration of an outgoing Remote Procedure Call (RPC)."),
			active:   active("dynpsrpc.client.active_calls", "Outgoing calls and streams in progress."),
			sent:     bytes("rpc.client.request.size", "Measures the size of RPC request messages (uncompressed)."),
			received: bytes("rpc.client.response.size", "Measures the size of RPC response messages (uncompressed)."),
			responses: &Instrument{
				"dynpsrpc.client.multi.responses", "Responses to multi calls, including errors.", "{response}", Counter, outcome, nil,
			},
		},
		server: callInstruments{
			duration: seconds("rpc.server.call.duration", "Measures the duration of an incoming Remote Procedure Call (RPC)."),
			active:   active("dynpsrpc.server.active_calls", "Incoming calls and streams in progress."),
			sent:     bytes("rpc.server.response.size", "Measures the size of RPC response messages (uncompressed)."),
			received: bytes("rpc.server.request.size", "Measures the size of RPC request messages (uncompressed)."),
		},
		publication: callInstruments{
			duration: seconds("dynpsrpc.publish.duration", "Duration of the publication of an update."),
			sent:     bytes("dynpsrpc.publish.size", "Size of published updates."),
		},
		delivery: callInstruments{
			duration: seconds("dynpsrpc.delivery.duration", "Duration of the processing of a received update by interceptors."),
			received: bytes("dynpsrpc.delivery.size", "Size of received updates."),
		},
	}
}
