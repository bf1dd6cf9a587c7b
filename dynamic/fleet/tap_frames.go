package fleet

import (
	linked "container/list"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// maxSeenCalls is the maximum number of calls and streams whose requests a passive tap remembers.
// Responses do not name their method, so the tap needs the request to find it.
const maxSeenCalls = 10_000

// maxSeenID is the maximum length in bytes of an ID that a passive tap remembers. Frames with
// longer IDs are ignored.
const maxSeenID = 256

// maxDecompressed is the maximum size in bytes of a frame's content after decompression. Frames
// with larger contents are ignored.
const maxDecompressed = 16 << 20

// frameReader decodes the frames of a bus and reports them as [dynamic.Traffic], as a server does
// for its own taps. It is safe for concurrent use.
type frameReader struct {
	// report is called for each frame that could be read.
	report func(t *dynamic.Traffic)

	mu sync.Mutex
	// calls holds the elements of order, keyed by the ID of the request or stream.
	calls map[string]*linked.Element
	// order holds values of type *seenCall, the oldest first.
	order linked.List
	// unknown counts the claims, responses and stream frames whose request was not seen.
	unknown uint64
}

// seenCall is a request, or an open stream, that a passive tap has seen.
type seenCall struct {
	id       string
	method   *registry.Method
	topic    []string
	clientID string
	at       time.Time
}

// onServerFrame reads a frame from a channel of a method. The channel carries requests, stream
// frames or, for a subscription method, updates. The result is the ID of the client that has sent a
// request or opened a stream. For other frames, it is empty.
func (r *frameReader) onServerFrame(method *registry.Method, topic []string, frame []byte) (clientID string) {
	envelope, value, ok := openFrame(frame)
	if !ok {
		return ""
	}
	switch {
	case envelope.Kind == wire.KindRequest:
		request, err := wire.ParseRequest(value)
		if err != nil || len(request.RequestID) > maxSeenID || len(request.ClientID) > maxSeenID {
			return ""
		}
		call := &seenCall{string(request.RequestID), method, topic, string(request.ClientID), time.Now()}
		r.remember(call)
		t := call.traffic(dynamic.TrafficRequest)
		t.Metadata, t.Encoded = request.Metadata, request.Body.Raw
		r.report(t)
		return call.clientID
	case envelope.Kind == wire.KindStream:
		return r.onStreamFrame(method, topic, value, dynamic.TrafficMessageIn)
	case envelope.Kind == wire.KindUnknown && method.Kind() == registry.KindSubscription:
		r.report(&dynamic.Traffic{
			Kind: dynamic.TrafficUpdate, Method: method, Topic: topic, Metadata: envelope.Metadata, Encoded: value,
		})
	}
	return ""
}

// onClientFrame reads a frame from a channel on which a client receives claims, responses or stream
// frames.
func (r *frameReader) onClientFrame(frame []byte) {
	envelope, value, ok := openFrame(frame)
	if !ok {
		return
	}
	switch envelope.Kind {
	case wire.KindResponse:
		r.onResponse(value)
	case wire.KindClaimRequest:
		r.onClaim(value)
	case wire.KindStream:
		r.onStreamFrame(nil, nil, value, dynamic.TrafficMessageOut)
	default:
		// The other kinds of frames are not shown, because they contain no user data.
	}
}

// openFrame decodes the envelope of a frame and decompresses its content.
func openFrame(frame []byte) (envelope wire.Envelope, value []byte, ok bool) {
	envelope, err := wire.ParseEnvelope(frame)
	if err != nil {
		return envelope, nil, false
	}
	value, err = wire.Decompress(envelope.Value, maxDecompressed)
	return envelope, value, err == nil
}

func (r *frameReader) onResponse(value []byte) {
	response, err := wire.ParseResponse(value)
	if err != nil {
		return
	}
	call := r.find(response.RequestID)
	if call == nil {
		return
	}
	t := call.traffic(dynamic.TrafficResponse)
	t.Duration, t.Encoded, t.Code = time.Since(call.at), response.Body.Raw, errors.ErrorCode(response.Code)
	if t.Code != errors.OK {
		t.Kind = dynamic.TrafficError
	}
	r.report(t)
	if call.method.Kind() != registry.KindMulti {
		r.forget(call.id)
	}
}

func (r *frameReader) onClaim(value []byte) {
	claim, err := wire.ParseClaimRequest(value)
	if err != nil {
		return
	}
	call := r.find(claim.RequestID)
	if call == nil {
		return
	}
	t := call.traffic(dynamic.TrafficClaim)
	if t.Affinity = claim.Affinity; claim.Declined {
		t.Kind = dynamic.TrafficDecline
	}
	r.report(t)
}

// onStreamFrame reads a frame of a stream and reports it. method is nil if the frame was sent to a
// client. kind is the kind of traffic for a frame that contains a message. If the frame opens a
// stream, the result is the ID of the client.
func (r *frameReader) onStreamFrame(
	method *registry.Method, topic []string, value []byte, kind dynamic.TrafficKind,
) (clientID string) {
	frame, err := wire.ParseStream(value)
	switch {
	case err != nil, len(frame.StreamID) > maxSeenID, len(frame.NodeID) > maxSeenID:
	case frame.Op == wire.StreamOpen && method != nil:
		stream := &seenCall{string(frame.StreamID), method, topic, string(frame.NodeID), time.Now()}
		r.remember(stream)
		t := stream.traffic(dynamic.TrafficOpen)
		t.Metadata = frame.Metadata
		r.report(t)
		return stream.clientID
	case frame.Op == wire.StreamMessage, frame.Op == wire.StreamClose:
		if stream := r.find(frame.StreamID); stream != nil {
			r.onOpenStream(stream, &frame, kind)
		}
	}
	return ""
}

// onOpenStream reports a message of a stream or its close.
func (r *frameReader) onOpenStream(stream *seenCall, frame *wire.Stream, kind dynamic.TrafficKind) {
	t := stream.traffic(kind)
	t.Encoded = frame.Body.Raw
	if frame.Op == wire.StreamClose {
		t.Kind, t.Duration = dynamic.TrafficClose, time.Since(stream.at)
		if err := errors.FromStreamClose(errors.ErrorCode(frame.Code), frame.Error); !errors.Is(err, errors.ErrStreamClosed) {
			t.Code = err.Code()
		}
		r.forget(stream.id)
	}
	r.report(t)
}

// traffic returns a Traffic of this kind, with the fields that all traffic of the call has in
// common.
func (c *seenCall) traffic(kind dynamic.TrafficKind) *dynamic.Traffic {
	return &dynamic.Traffic{Kind: kind, Method: c.method, Topic: c.topic, ClientID: c.clientID, RequestID: []byte(c.id)}
}

// remember adds a call. If there are more than maxSeenCalls, it forgets the oldest one.
func (r *frameReader) remember(call *seenCall) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls[call.id] != nil {
		return
	}
	if r.calls == nil {
		r.calls = map[string]*linked.Element{}
	}
	r.calls[call.id] = r.order.PushBack(call)
	if r.order.Len() > maxSeenCalls {
		oldest := r.order.Remove(r.order.Front()).(*seenCall)
		delete(r.calls, oldest.id)
	}
}

// find returns the call with this ID. If the tap has not seen the call, find counts an unknown
// frame and returns nil.
func (r *frameReader) find(id []byte) *seenCall {
	r.mu.Lock()
	defer r.mu.Unlock()
	element := r.calls[string(id)]
	if element == nil {
		r.unknown++
		return nil
	}
	return element.Value.(*seenCall)
}

func (r *frameReader) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if element := r.calls[id]; element != nil {
		r.order.Remove(element)
		delete(r.calls, id)
	}
}

// takeUnknown returns how many frames without a known request have been counted since its previous
// call.
func (r *frameReader) takeUnknown() (unknown uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	unknown, r.unknown = r.unknown, 0
	return unknown
}
