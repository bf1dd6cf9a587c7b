package dynamic

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
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
	// TrafficDecline says that the server does not take a request.
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
	// Duration is the time from TrafficRequest to the response, or from the opening of a stream to
	// its end.
	Duration time.Duration
	// Code is set for TrafficError, and for TrafficClose unless the stream was closed without a
	// cause.
	Code errors.ErrorCode
	// Affinity is set for TrafficClaim and TrafficDecline.
	Affinity float32
	// Message is the message, or nil if there is none, or if it is given in Encoded instead.
	Message proto.Message
	Encoded []byte
}

// SetTap sets a function that is called with everything that passes through the server, until
// SetTap is called again. A nil function ends this. While no function is set, requests cost no more
// than without this feature. The calls are concurrent, and requests wait for them. The function
// must not block, must not panic, and must neither modify nor keep what it is given.
func (s *Server) SetTap(tap func(t *Traffic)) {
	if tap == nil {
		s.tap.Store(nil)
		return
	}
	s.tap.Store(&tap)
}

// traffic returns a Traffic of this kind, with the fields that all traffic of the call has in
// common.
func (c *serverCall) traffic(kind TrafficKind) *Traffic {
	return &Traffic{
		Kind: kind, Method: c.plan.method, Topic: c.endpoint.topic, ClientID: c.client.id, RequestID: c.requestID,
	}
}

// runTapped is like runLimited, but reports the request and the response to tap.
func (c *serverCall) runTapped(tap func(*Traffic), request wire.Body) (frame []byte) {
	t := c.traffic(TrafficRequest)
	t.Metadata, t.Message, t.Encoded = c.metadata, request.Message, request.Raw
	tap(t)
	started := time.Now()
	defer func() {
		// If the handler has panicked, frame is still nil.
		c.tapResponse(tap, frame, time.Since(started))
	}()
	return c.runLimited(request)
}

// tapResponse reports a response to tap. If frame is nil, the handler has panicked.
func (c *serverCall) tapResponse(tap func(*Traffic), frame []byte, took time.Duration) {
	t := c.traffic(TrafficError)
	t.Duration, t.Code = took, errors.Internal
	if envelope, err := wire.ParseEnvelope(frame); err == nil && frame != nil {
		if response, err := wire.ParseResponse(envelope.Value); err == nil {
			t.Code, t.Encoded = errors.ErrorCode(response.Code), response.Body.Raw
		}
	}
	if t.Code == "" {
		t.Kind = TrafficResponse
	}
	tap(t)
}

// refusalFrame is like errorFrame, for a request that is answered although it was not handled.
func (c *serverCall) refusalFrame(cause error) []byte {
	frame := c.errorFrame(cause)
	if tap := c.plan.server.tap.Load(); tap != nil {
		c.tapResponse(*tap, frame, 0)
	}
	return frame
}

// tapClaim reports a claim to tap. A negative affinity means that the server declines the request.
func (o *claimOffer) tapClaim(tap func(*Traffic), affinity float32) {
	t := &Traffic{
		Kind: TrafficClaim, Method: o.plan.method, Topic: o.topic, ClientID: o.client.id, RequestID: o.requestID, Affinity: affinity,
	}
	if affinity < 0 {
		t.Kind = TrafficDecline
	}
	tap(t)
}

// tapStream reports an event of a stream on a server. It does nothing on clients, or if no tap is
// set.
func (s *stream) tapStream(kind TrafficKind, message proto.Message, encoded []byte) {
	if s.tap == nil {
		return
	}
	tap := s.tap.Load()
	if tap == nil {
		return
	}
	t := &Traffic{Kind: kind, Method: s.method, Topic: s.topic, RequestID: s.id, Message: message, Encoded: encoded}
	if info, ok := RequestInfoFromContext(s.context); ok {
		t.ClientID = info.ClientID
		if kind == TrafficOpen {
			t.Metadata = info.Metadata
		}
	}
	if kind == TrafficClose {
		t.Duration = time.Since(s.started)
		if err := s.Err(); !errors.Is(err, errors.ErrStreamClosed) {
			t.Code, _ = errors.ToStreamClose(err)
		}
	}
	(*tap)(t)
}

// tapUpdate reports an update that a server publishes. It does nothing on conns, or if no tap is
// set.
func (p *publisher) tapUpdate(topic []string, update proto.Message) {
	if p.tap == nil {
		return
	}
	if tap := p.tap.Load(); tap != nil {
		(*tap)(&Traffic{Kind: TrafficUpdate, Method: p.method, Topic: topic, Message: update})
	}
}
