package wire_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// allocMessages contains one message of each kind, with a body if the kind has one.
func allocMessages() map[wire.Kind]message {
	body := wire.Body{Message: wrapperspb.String("hello world")}
	id, peer := []byte("REQ_0123456789ab"), []byte("CLI_0123456789ab")
	const now = 1795327837541007727
	return map[wire.Kind]message{
		wire.KindRequest: &wire.Request{
			RequestID: id, ClientID: peer, SentAt: now, Expiry: now + 3e9, Body: body,
			SkipClaim: true, AcceptDirect: true, AcceptDecline: true, AnnounceAfter: 200,
		},
		wire.KindResponse:      &wire.Response{RequestID: id, ServerID: peer, SentAt: now, Body: body},
		wire.KindClaimRequest:  &wire.ClaimRequest{RequestID: id, ServerID: peer, Affinity: 1, Declined: true},
		wire.KindClaimResponse: &wire.ClaimResponse{RequestID: id, ServerID: peer},
		wire.KindStream: &wire.Stream{
			StreamID: peer, RequestID: id, SentAt: now, Expiry: now + 3e9, Op: wire.StreamMessage, Body: body,
		},
		wire.KindCancel:   &wire.Cancel{RequestID: id},
		wire.KindDiscover: &wire.Discover{ClientID: peer, Channel: id},
	}
}

// allocs counts the allocations of f. Tests that use it are not parallel, because it also counts
// the allocations of other goroutines.
func allocs(f func()) int { return int(testing.AllocsPerRun(100, f)) }

func TestAlloc_Encoding(t *testing.T) {
	frame := make([]byte, 0, 1024)
	for kind, m := range allocMessages() {
		assert.Equal(t, 1, allocs(func() { _, _ = m.AppendFrame(nil) }), schemaName[kind])
		assert.Zero(t, allocs(func() { _, _ = m.AppendFrame(frame) }), schemaName[kind])
	}
	for _, op := range []wire.StreamOp{wire.StreamOpen, wire.StreamAck, wire.StreamPing, wire.StreamClose} {
		s := wire.Stream{Op: op, NodeID: []byte("node"), Keepalive: 10e9, Error: "no room", Code: "unavailable"}
		assert.Equal(t, 1, allocs(func() { _, _ = s.AppendFrame(nil) }), op)
	}
	metadata := wire.Request{Metadata: map[string]string{"traceparent": "00-1", "room": "a"}}
	assert.Equal(t, 1, allocs(func() { _, _ = metadata.AppendFrame(nil) }))

	body := wire.Body{Message: wrapperspb.String("hello world")}
	assert.Equal(t, 1, allocs(func() {
		_, _ = wire.AppendMessageFrame(nil, body, "google.protobuf.StringValue", 42)
	}))
}

func TestAlloc_Decoding(t *testing.T) {
	for kind, m := range allocMessages() {
		frame, err := m.AppendFrame(nil)
		require.NoError(t, err)
		assert.Zero(t, allocs(func() { parseFrame(frame) }), schemaName[kind])
		assert.Zero(t, allocs(func() { _, _ = wire.RoutingKey(frame) }), schemaName[kind])
	}
	for name, frame := range malformedFrames {
		assert.Zero(t, allocs(func() { _, _ = wire.ParseEnvelope(frame) }), name)
	}
}

// parseFrame decodes the envelope and the inner message, as a receiver does.
func parseFrame(frame []byte) {
	env, _ := wire.ParseEnvelope(frame)
	switch env.Kind {
	case wire.KindUnknown:
	case wire.KindRequest:
		_, _ = wire.ParseRequest(env.Value)
	case wire.KindResponse:
		_, _ = wire.ParseResponse(env.Value)
	case wire.KindClaimRequest:
		_, _ = wire.ParseClaimRequest(env.Value)
	case wire.KindClaimResponse:
		_, _ = wire.ParseClaimResponse(env.Value)
	case wire.KindStream:
		_, _ = wire.ParseStream(env.Value)
	case wire.KindCancel:
		_, _ = wire.ParseCancel(env.Value)
	case wire.KindDiscover:
		_, _ = wire.ParseDiscover(env.Value)
	case wire.KindPresence:
		_, _ = wire.ParsePresence(env.Value)
	}
}
