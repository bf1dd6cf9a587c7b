package wire_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"pgregory.net/rapid"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// checkEnvelope decodes a frame with the codec and with protobuf. Both must reject it, or return
// the same fields.
func checkEnvelope(t require.TestingT, frame []byte) {
	want, wantErr := parseReference(t, "Msg", frame)
	got, err := wire.ParseEnvelope(frame)
	key, keyErr := wire.RoutingKey(frame)
	if errors.Is(wantErr, errNoReference) {
		return
	}
	if wantErr != nil {
		require.Error(t, err, "protobuf: %v", wantErr)
		return
	}
	if value := want.Get(field(want, "value")).Bytes(); !knownCompression(want.Get(field(want, "compression")).Int(), value) {
		require.ErrorContains(t, err, "compressed")
		return
	}
	require.NoError(t, err)
	require.NoError(t, keyErr)
	require.Equal(t, string(want.Get(field(want, "value")).Bytes()), string(got.Value))
	require.Equal(t, want.Get(field(want, "channel")).String(), string(key))
	metadata := want.Get(field(want, "metadata")).Map()
	require.Len(t, got.Metadata, metadata.Len())
	for key, value := range got.Metadata {
		require.Equal(t, metadata.Get(protoreflect.ValueOf(key).MapKey()).String(), value)
	}
	typeURL := want.Get(field(want, "type_url")).String()
	require.Equal(t, typeURL[strings.LastIndex(typeURL, "/")+1:], string(got.TypeName))
}

// knownCompression reports whether the codec accepts an envelope with this value and with this
// number in the compression field.
func knownCompression(number int64, value []byte) bool {
	return number == 0 || number == 1 && (len(value) == 0 || bytes.HasPrefix(value, []byte("\x1f\x8b")))
}

// checkInner decodes an inner message with the codec and with protobuf. Both must reject it, or
// return the same fields, which must survive encoding and decoding.
func checkInner(t require.TestingT, kind wire.Kind, value []byte) {
	want, wantErr := parseReference(t, schemaName[kind], value)
	got, err := parse(kind, value)
	if errors.Is(wantErr, errNoReference) {
		return
	}
	if wantErr != nil {
		require.Error(t, err, "protobuf: %v", wantErr)
		return
	}
	require.NoError(t, err)
	wantBytes := canonical(t, want)
	require.Equal(t, wantBytes, canonical(t, toReference(t, got)), "decoded %s", schemaName[kind])

	again := encodeAndParse(t, kind, got)
	require.Equal(t, wantBytes, canonical(t, toReference(t, again)), "decoded again %s", schemaName[kind])
}

// encodeAndParse encodes a message into a frame, checks the frame, and decodes the message again.
func encodeAndParse(t require.TestingT, kind wire.Kind, m message) message {
	prefix := []byte("prefix")
	frame, err := m.AppendFrame(prefix)
	require.NoError(t, err)
	require.Equal(t, "prefix", string(frame[:len(prefix)]))
	env, err := wire.ParseEnvelope(frame[len(prefix):])
	require.NoError(t, err)
	require.Equal(t, kind, env.Kind)
	again, err := parse(kind, env.Value)
	require.NoError(t, err)
	return again
}

// TestReference_Encode checks that the codec encodes messages to the same bytes as protobuf, except
// for the order of metadata.
func TestReference_Encode(t *testing.T) {
	t.Parallel()
	for kind, name := range schemaName {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				m, metadata := drawMessage(t, kind)
				want := canonical(t, toReference(t, m))
				frame, err := m.AppendFrame(nil)
				require.NoError(t, err)
				env, err := wire.ParseEnvelope(frame)
				require.NoError(t, err)
				if len(metadata) < 2 {
					require.Equal(t, string(want), string(env.Value))
				}
				require.Len(t, env.Value, len(want))
				checkEnvelope(t, frame)
				checkInner(t, kind, env.Value)
			})
		})
	}
}

// TestReference_Decode checks that the codec decodes any sequence of fields like protobuf: repeated
// fields, any order, unknown fields, other wire types, and truncated messages.
func TestReference_Decode(t *testing.T) {
	t.Parallel()
	for kind, name := range schemaName {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) { checkInner(t, kind, drawFields(t, 2)) })
		})
	}
	t.Run("Msg", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) { checkEnvelope(t, drawFields(t, 1)) })
	})
}

// drawFields draws an encoded message. Most of its fields are valid, with numbers that the schema
// contains and a few others. depth limits the nesting.
func drawFields(t *rapid.T, depth int) []byte {
	var b []byte
	for range rapid.IntRange(0, 6).Draw(t, "fields") {
		number := rapid.SampledFrom([]protowire.Number{1, 2, 3, 4, 5, 6, 7, 8, 10, 15, 1000, 1001, 1002}).Draw(t, "number")
		// Length-delimited fields are frequent, because they can contain submessages.
		wireType := rapid.SampledFrom([]protowire.Type{0, 1, 2, 2, 2, 2, 3, 5}).Draw(t, "wire type")
		b = protowire.AppendTag(b, number, wireType)
		switch wireType {
		case protowire.VarintType:
			b = protowire.AppendVarint(b, rapid.Uint64().Draw(t, "varint"))
		case protowire.Fixed32Type:
			b = protowire.AppendFixed32(b, rapid.Uint32().Draw(t, "fixed32"))
		case protowire.Fixed64Type:
			b = protowire.AppendFixed64(b, rapid.Uint64().Draw(t, "fixed64"))
		case protowire.BytesType:
			b = protowire.AppendBytes(b, drawBytes(t, depth))
		case protowire.StartGroupType:
			b = protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), 7)
			b = protowire.AppendTag(b, number, protowire.EndGroupType)
		case protowire.EndGroupType:
		}
	}
	if rapid.IntRange(0, 9).Draw(t, "cut") == 0 {
		b = b[:rapid.IntRange(0, len(b)).Draw(t, "length")]
	}
	return b
}

func drawBytes(t *rapid.T, depth int) []byte {
	if depth > 0 && rapid.Bool().Draw(t, "nested") {
		return drawFields(t, depth-1)
	}
	if rapid.IntRange(0, 9).Draw(t, "binary") == 0 {
		return rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
	}
	return []byte(rapid.String().Draw(t, "text"))
}

// drawMessage draws a message of the given kind. It returns the message and its metadata.
func drawMessage(t *rapid.T, kind wire.Kind) (message, map[string]string) {
	id := rapid.Custom(func(t *rapid.T) []byte { return []byte(rapid.String().Draw(t, "id")) })
	number := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64())
	metadata := rapid.MapOfN(rapid.String(), rapid.String(), 0, 3).Draw(t, "metadata")
	body := wire.Body{Raw: rapid.SliceOf(rapid.Byte()).Draw(t, "body")}
	first, second := id.Draw(t, "first id"), id.Draw(t, "second id")
	sentAt, expiry := number.Draw(t, "sent at"), number.Draw(t, "expiry")
	text, code := rapid.String().Draw(t, "error"), rapid.String().Draw(t, "code")

	switch kind {
	case wire.KindRequest:
		return &wire.Request{
			RequestID: first, ClientID: second, SentAt: sentAt, Expiry: expiry,
			Multi: rapid.Bool().Draw(t, "multi"), Metadata: metadata, Body: body,
			SkipClaim:    rapid.Bool().Draw(t, "skip claim"),
			AcceptDirect: rapid.Bool().Draw(t, "accept direct"), AcceptDecline: rapid.Bool().Draw(t, "accept decline"),
			AnnounceAfter: rapid.Uint32().Draw(t, "announce after"),
		}, metadata
	case wire.KindResponse:
		return &wire.Response{
			RequestID: first, ServerID: second, SentAt: sentAt,
			Error: text, Code: code, Details: drawDetails(t), Body: body,
			Subscribers: rapid.Uint32().Draw(t, "sharers"),
			Unprocessed: rapid.Bool().Draw(t, "not run"),
			ServedIn:    rapid.Uint32().Draw(t, "served in"),
		}, nil
	case wire.KindClaimRequest:
		return &wire.ClaimRequest{
			RequestID: first, ServerID: second,
			Affinity:    rapid.OneOf(rapid.Just(float32(0)), rapid.Float32()).Draw(t, "affinity"),
			Handling:    rapid.Bool().Draw(t, "handling"),
			Declined:    rapid.Bool().Draw(t, "declined"),
			Subscribers: rapid.Uint32().Draw(t, "sharers"),
		}, nil
	case wire.KindClaimResponse:
		return &wire.ClaimResponse{RequestID: first, ServerID: second}, nil
	case wire.KindCancel:
		return &wire.Cancel{RequestID: first}, nil
	case wire.KindDiscover:
		return &wire.Discover{ClientID: first, Channel: second, Answered: rapid.SliceOfN(id, 0, 3).Draw(t, "answered")}, nil
	case wire.KindPresence:
		return &wire.Presence{
			ServerID: first, State: wire.PresenceState(rapid.Uint64().Draw(t, "state")),
			Channels: rapid.SliceOf(id).Draw(t, "channels"),
			Address:  id.Draw(t, "address"), Receiver: id.Draw(t, "receiver"),
			Members: rapid.Uint32().Draw(t, "members"), Service: id.Draw(t, "service"),
		}, nil
	default:
		return &wire.Stream{
			StreamID: first, RequestID: second, SentAt: sentAt, Expiry: expiry,
			Op:     wire.StreamOp(rapid.IntRange(0, int(wire.StreamPing)).Draw(t, "op")),
			NodeID: id.Draw(t, "node id"), Metadata: metadata, Keepalive: number.Draw(t, "keepalive"),
			Body: body, Error: text, Code: code, Details: drawDetails(t),
		}, metadata
	}
}

func drawDetails(t *rapid.T) []*anypb.Any {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *anypb.Any {
		return &anypb.Any{TypeUrl: rapid.String().Draw(t, "type"), Value: rapid.SliceOf(rapid.Byte()).Draw(t, "value")}
	}), 0, 3).Draw(t, "details")
}
