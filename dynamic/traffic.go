package dynamic

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/tap"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// TrafficKind is the kind of a [Traffic], for example a request.
type TrafficKind uint8

const (
	// TrafficRequest is a request that the server handles. It is reported before the interceptors
	// and the handler run.
	TrafficRequest TrafficKind = iota + 1
	// TrafficResponse is a successful response.
	TrafficResponse
	// TrafficError is an error response.
	TrafficError
	// TrafficOpen is a stream that has been opened.
	TrafficOpen
	// TrafficMessageIn is a stream message from a client.
	TrafficMessageIn
	// TrafficMessageOut is a stream message to a client.
	TrafficMessageOut
	// TrafficClose is a stream that has been closed, by either side.
	TrafficClose
	// TrafficUpdate is an update that the server publishes.
	TrafficUpdate
	// TrafficClaim is a claim of the server for a request.
	TrafficClaim
	// TrafficDecline means that the server has declined a request.
	TrafficDecline
)

// Traffic describes one thing that has passed through a server; see [Server.SetTap].
type Traffic struct {
	Kind   TrafficKind
	Method *registry.Method
	// Topic holds the parts of the topic. It is empty if the method has no topics.
	Topic []string
	// ClientID is the ID of the client. It is empty for updates.
	ClientID string
	// RequestID identifies the request, or the stream to which an event belongs. It is empty for
	// updates.
	RequestID []byte
	// Metadata holds the key-value pairs that the client has attached. It is set for TrafficRequest
	// and TrafficOpen.
	Metadata map[string]string
	// Duration is the time from the request to its response, or from the opening of a stream to its
	// end. It is set for TrafficResponse, TrafficError and TrafficClose.
	Duration time.Duration
	// Code is set for TrafficError, and for TrafficClose unless the stream was closed without a
	// cause.
	Code errors.ErrorCode
	// Affinity is set for TrafficClaim and TrafficDecline.
	Affinity float32
	// Message is the message. It is nil if there is none or if Encoded contains it.
	Message proto.Message
	Encoded []byte
}

// trafficKinds maps the kinds of package tap to those of this package.
var trafficKinds = [...]TrafficKind{
	tap.Request: TrafficRequest, tap.Response: TrafficResponse, tap.Error: TrafficError, tap.Open: TrafficOpen,
	tap.MessageIn: TrafficMessageIn, tap.MessageOut: TrafficMessageOut, tap.Close: TrafficClose,
	tap.Update: TrafficUpdate, tap.Claim: TrafficClaim, tap.Decline: TrafficDecline,
}

// SetTap sets a function that is called with everything that passes through the server, until
// SetTap is called again. A nil function removes the current one. While no function is set,
// requests cost nothing extra. The calls are concurrent, and requests wait for them. The function
// must not block, must not panic, and must neither modify nor keep what it is given.
func (s *Server) SetTap(tap func(t *Traffic)) {
	s.engine.Tap().Set(tapFunction(tap))
}

// tapFunction returns a function that converts a tap.Traffic to a Traffic and passes it to
// function. If function is nil, tapFunction returns nil.
func tapFunction(function func(t *Traffic)) func(tap.Traffic) {
	if function == nil {
		return nil
	}
	return func(t tap.Traffic) {
		function(&Traffic{
			Kind: trafficKinds[t.Kind], Method: t.Method, Topic: t.Topic, ClientID: t.ClientID, RequestID: t.RequestID,
			Metadata: t.Metadata, Duration: t.Duration, Code: t.Code, Affinity: t.Affinity, Message: t.Message,
			Encoded: t.Encoded,
		})
	}
}
