package wire_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// privateMessages contains messages with fields that psrpc v0.7.2 does not know, and their
// encodings.
var privateMessages = map[string]struct {
	message message
	kind    wire.Kind
	want    fields
}{
	"request that accepts all": {
		&wire.Request{RequestID: []byte("id"), AcceptDirect: true, AcceptDecline: true},
		wire.KindRequest, fields{}.bytes(1, "id").varint(1000, 1).varint(1001, 1),
	},
	"request that skips the claim": {
		&wire.Request{RequestID: []byte("id"), Body: wire.Body{Raw: []byte("body")}, SkipClaim: true, AcceptDirect: true},
		wire.KindRequest, fields{}.bytes(1, "id").bytes(8, "body").varint(10, 1).varint(1000, 1),
	},
	"request that expects an announcement": {
		&wire.Request{RequestID: []byte("id"), SkipClaim: true, AnnounceAfter: 200},
		wire.KindRequest, fields{}.bytes(1, "id").varint(10, 1).varint(1002, 200),
	},
	"announcement": {
		&wire.ClaimRequest{RequestID: []byte("id"), ServerID: []byte("server"), Affinity: 1, Handling: true},
		wire.KindClaimRequest, fields{}.bytes(1, "id").bytes(2, "server").fixed32(3, math.Float32bits(1)).varint(4, 1),
	},
	"request that accepts a decline": {
		&wire.Request{RequestID: []byte("id"), AcceptDecline: true},
		wire.KindRequest, fields{}.bytes(1, "id").varint(1001, 1),
	},
	"declined claim": {
		&wire.ClaimRequest{RequestID: []byte("id"), ServerID: []byte("server"), Declined: true},
		wire.KindClaimRequest, fields{}.bytes(1, "id").bytes(2, "server").varint(1000, 1),
	},
	"claim of a server that shares a connection": {
		&wire.ClaimRequest{RequestID: []byte("id"), ServerID: []byte("server"), Affinity: 1, Subscribers: 2},
		wire.KindClaimRequest, fields{}.bytes(1, "id").bytes(2, "server").fixed32(3, math.Float32bits(1)).varint(1001, 2),
	},
	"declined claim of a server that shares a connection": {
		&wire.ClaimRequest{RequestID: []byte("id"), ServerID: []byte("server"), Declined: true, Subscribers: 300},
		wire.KindClaimRequest, fields{}.bytes(1, "id").bytes(2, "server").varint(1000, 1).varint(1001, 300),
	},
	"response of a server that shares a connection": {
		&wire.Response{RequestID: []byte("id"), ServerID: []byte("server"), Body: wire.Body{Raw: []byte("body")}, Subscribers: 20},
		wire.KindResponse, fields{}.bytes(1, "id").bytes(2, "server").bytes(7, "body").varint(1000, 20),
	},
	"error of a server that shares a connection": {
		&wire.Response{
			RequestID: []byte("id"), Error: "text", Details: []*anypb.Any{{TypeUrl: "x/a.B"}}, Subscribers: math.MaxUint32,
		},
		wire.KindResponse, fields{}.bytes(1, "id").bytes(5, "text").
			bytes(8, string(fields{}.bytes(1, "x/a.B"))).varint(1000, math.MaxUint32),
	},
	"error of a request that was not run": {
		&wire.Response{RequestID: []byte("id"), Error: "text", Subscribers: 2, Unprocessed: true},
		wire.KindResponse, fields{}.bytes(1, "id").bytes(5, "text").varint(1000, 2).varint(1001, 1),
	},
	"response to a unicast request": {
		&wire.Response{RequestID: []byte("id"), Body: wire.Body{Raw: []byte("body")}, ServedIn: 150},
		wire.KindResponse, fields{}.bytes(1, "id").bytes(7, "body").varint(1002, 150),
	},
	"open with keepalive": {
		&wire.Stream{StreamID: []byte("id"), Op: wire.StreamOpen, NodeID: []byte("node"), Keepalive: 10e9},
		wire.KindStream, fields{}.bytes(1, "id").bytes(6, string(fields{}.bytes(1, "node").varint(1000, 10e9))),
	},
	"ack with keepalive": {
		&wire.Stream{StreamID: []byte("id"), Op: wire.StreamAck, Keepalive: 10e9},
		wire.KindStream, fields{}.bytes(1, "id").bytes(8, string(fields{}.varint(1000, 10e9))),
	},
	"ping": {
		&wire.Stream{StreamID: []byte("id"), Op: wire.StreamPing},
		wire.KindStream, fields{}.bytes(1, "id").bytes(1000, ""),
	},
	"close with details": {
		&wire.Stream{
			StreamID: []byte("id"), Op: wire.StreamClose, Error: "text", Code: "code",
			Details: []*anypb.Any{{TypeUrl: "x/a.B", Value: []byte("value")}, {}},
		},
		wire.KindStream, fields{}.bytes(1, "id").bytes(9, string(fields{}.bytes(1, "text").bytes(2, "code").
			bytes(1000, string(fields{}.bytes(1, "x/a.B").bytes(2, "value"))).bytes(1000, ""))),
	},
	"cancel": {
		&wire.Cancel{RequestID: []byte("id")},
		wire.KindCancel, fields{}.bytes(1, "id"),
	},
	"discover": {
		&wire.Discover{ClientID: []byte("client"), Channel: []byte("a|REQ")},
		wire.KindDiscover, fields{}.bytes(1, "client").bytes(2, "a|REQ"),
	},
	"second discover": {
		&wire.Discover{ClientID: []byte("client"), Channel: []byte("a|REQ"), Answered: [][]byte{[]byte("b"), []byte("c")}},
		wire.KindDiscover, fields{}.bytes(1, "client").bytes(2, "a|REQ").bytes(3, "b").bytes(3, "c"),
	},
	"presence": {
		&wire.Presence{ServerID: []byte("server"), Channels: [][]byte{[]byte("a|REQ"), []byte("b|REQ")}},
		wire.KindPresence, fields{}.bytes(1, "server").bytes(3, "a|REQ").bytes(3, "b|REQ"),
	},
	"left": {
		&wire.Presence{ServerID: []byte("server"), State: wire.PresenceLeft, Channels: [][]byte{[]byte("a|REQ")}},
		wire.KindPresence, fields{}.bytes(1, "server").varint(2, 2).bytes(3, "a|REQ"),
	},
	"unicast presence": {
		&wire.Presence{
			ServerID: []byte("server"), Channels: [][]byte{[]byte("a|REQ")}, Address: []byte("address"), Receiver: []byte("bus"),
			Members: 3, Service: []byte("a.B"),
		},
		wire.KindPresence, fields{}.bytes(1, "server").bytes(3, "a|REQ").bytes(4, "address").bytes(5, "bus").varint(6, 3).
			bytes(7, "a.B"),
	},
}

func privateFrames(t testing.TB) map[string][]byte {
	t.Helper()
	frames := make(map[string][]byte, len(privateMessages))
	for name, c := range privateMessages {
		frame, err := c.message.AppendFrame(nil)
		require.NoError(t, err)
		frames[name] = frame
	}
	return frames
}

func TestPrivate_Bytes(t *testing.T) {
	t.Parallel()
	for name, c := range privateMessages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			frame, err := c.message.AppendFrame(nil)
			require.NoError(t, err)
			env, err := wire.ParseEnvelope(frame)
			require.NoError(t, err)
			assert.Equal(t, c.kind, env.Kind)
			assert.Equal(t, string(c.want), string(env.Value))
			for i := range env.Value {
				checkInner(t, c.kind, env.Value[:i])
			}
			checkInner(t, c.kind, env.Value)
		})
	}
}

func TestPrivate_ParsedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range privateMessages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parse(c.kind, c.want)
			require.NoError(t, err)
			assert.Equal(t, canonical(t, toReference(t, c.message)), canonical(t, toReference(t, got)))
		})
	}
}

// Peers keep the addresses of many servers, so the length of an address is limited.
func TestParsePresence_LongAddress(t *testing.T) {
	t.Parallel()
	long := bytes.Repeat([]byte("a"), 257)
	for _, presence := range []wire.Presence{{Address: long}, {Receiver: long}} {
		frame, err := presence.AppendFrame(nil)
		require.NoError(t, err)
		envelope, err := wire.ParseEnvelope(frame)
		require.NoError(t, err)
		_, err = wire.ParsePresence(envelope.Value)
		require.ErrorContains(t, err, "address or name of more than 256 bytes")
	}
}

// A server looks up each address of a Discover among the addresses that it knows, so the number of
// addresses in a Discover is limited.
func TestParseDiscover_TooManyAddresses(t *testing.T) {
	t.Parallel()
	discover := wire.Discover{Answered: make([][]byte, wire.MaxAnswered+1)}
	frame, err := discover.AppendFrame(nil)
	require.NoError(t, err)
	envelope, err := wire.ParseEnvelope(frame)
	require.NoError(t, err)
	_, err = wire.ParseDiscover(envelope.Value)
	require.ErrorContains(t, err, "more than 256 addresses")
}
