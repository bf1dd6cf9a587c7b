package wire_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// fields builds an encoded message, with fields in the order of the calls.
type fields []byte

func (f fields) bytes(number protowire.Number, value string) fields {
	return protowire.AppendString(protowire.AppendTag(f, number, protowire.BytesType), value)
}

func (f fields) varint(number protowire.Number, value uint64) fields {
	return protowire.AppendVarint(protowire.AppendTag(f, number, protowire.VarintType), value)
}

func (f fields) fixed32(number protowire.Number, value uint32) fields {
	return protowire.AppendFixed32(protowire.AppendTag(f, number, protowire.Fixed32Type), value)
}

func (f fields) group(number protowire.Number, inner fields) fields {
	f = append(protowire.AppendTag(f, number, protowire.StartGroupType), inner...)
	return protowire.AppendTag(f, number, protowire.EndGroupType)
}

func TestParse_Malformed(t *testing.T) {
	t.Parallel()
	for name, frame := range malformedFrames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := wire.ParseEnvelope(frame)
			require.ErrorContains(t, err, "malformed frame")
			for kind := range schemaName {
				_, err := parse(kind, frame)
				require.ErrorContains(t, err, "malformed frame", schemaName[kind])
			}
		})
	}
}

func TestRoutingKey_Malformed(t *testing.T) {
	t.Parallel()
	for name, frame := range malformedFrames {
		if name == "text is not UTF-8" { // RoutingKey does not check the type URL
			continue
		}
		_, err := wire.RoutingKey(append(fields{}.bytes(3, "M.REQ"), frame...))
		require.ErrorContains(t, err, "malformed frame", name)
	}
	_, err := wire.RoutingKey(fields{}.bytes(3, "\xff"))
	require.ErrorContains(t, err, "UTF-8")
}

func TestParseEnvelope_TypeURL(t *testing.T) {
	t.Parallel()
	for typeURL, want := range map[string]wire.Envelope{
		"type.googleapis.com/internal.Request":       {Kind: wire.KindRequest, TypeName: []byte("internal.Request")},
		"type.googleapis.com/internal.Response":      {Kind: wire.KindResponse, TypeName: []byte("internal.Response")},
		"type.googleapis.com/internal.ClaimRequest":  {Kind: wire.KindClaimRequest, TypeName: []byte("internal.ClaimRequest")},
		"type.googleapis.com/internal.ClaimResponse": {Kind: wire.KindClaimResponse, TypeName: []byte("internal.ClaimResponse")},
		"type.googleapis.com/internal.Stream":        {Kind: wire.KindStream, TypeName: []byte("internal.Stream")},
		"internal.Request":                           {Kind: wire.KindRequest, TypeName: []byte("internal.Request")},
		"/internal.Request":                          {Kind: wire.KindRequest, TypeName: []byte("internal.Request")},
		"other.example/a/b/internal.Request":         {Kind: wire.KindRequest, TypeName: []byte("internal.Request")},
		"type.googleapis.com/dynpsrpc.Cancel":        {Kind: wire.KindCancel, TypeName: []byte("dynpsrpc.Cancel")},
		"type.googleapis.com/internal.Cancel":        {TypeName: []byte("internal.Cancel")},
		"type.googleapis.com/other.Request":          {TypeName: []byte("other.Request")},
		"type.googleapis.com/internal.Requests":      {TypeName: []byte("internal.Requests")},
		"internal.Request/":                          {TypeName: []byte{}},
		"":                                           {},
	} {
		got, err := wire.ParseEnvelope(fields{}.bytes(1, typeURL))
		require.NoError(t, err)
		assert.Equal(t, want, got, typeURL)
	}
}

// ParseEnvelope does not return the routing key, but must reject a frame whose routing key is not
// valid UTF-8.
func TestParseEnvelope_ChecksRoutingKey(t *testing.T) {
	t.Parallel()
	_, err := wire.ParseEnvelope(fields{}.bytes(1, "internal.Request").bytes(3, "\xff"))
	require.ErrorContains(t, err, "UTF-8")
}

func TestParseEnvelope_EmptyFrame(t *testing.T) {
	t.Parallel()
	env, err := wire.ParseEnvelope(nil)
	require.NoError(t, err)
	assert.Equal(t, wire.Envelope{}, env)
}

func TestParseEnvelope_AnyOrderLastWins(t *testing.T) {
	t.Parallel()
	frame := fields{}.
		bytes(3, "first").bytes(2, "old").bytes(15, "unknown").
		group(16, fields{}.bytes(3, "inside").group(3, nil)).
		varint(3, 7). // skipped, because its wire type is wrong
		bytes(3, "M.REQ").bytes(1, "x/a.Old").bytes(2, "value").bytes(1, "x/internal.Stream")
	env, err := wire.ParseEnvelope(frame)
	require.NoError(t, err)
	assert.Equal(t, wire.Envelope{
		Kind: wire.KindStream, TypeName: []byte("internal.Stream"), RoutingKey: []byte("M.REQ"), Value: []byte("value"),
	}, env)
	key, err := wire.RoutingKey(frame)
	require.NoError(t, err)
	assert.Equal(t, "M.REQ", string(key))
}

func TestParseRequest_LastWins(t *testing.T) {
	t.Parallel()
	entry := func(key, value string) string { return string(fields{}.bytes(1, key).bytes(2, value)) }
	got, err := wire.ParseRequest(fields{}.
		bytes(8, "old").bytes(7, entry("k", "old")).varint(5, 1).bytes(1, "old").varint(4, 9).
		bytes(6, "\xffnever read").
		bytes(1, "id").varint(5, 0).bytes(7, entry("k", "new")).bytes(7, entry("", "")).bytes(7, "").
		bytes(8, "new").varint(4, ^uint64(0)).varint(1000, 2))
	require.NoError(t, err)
	assert.Equal(t, wire.Request{
		RequestID: []byte("id"), Expiry: -1, Metadata: map[string]string{"k": "new", "": ""},
		Body: wire.Body{Raw: []byte("new")}, AcceptDirect: true,
	}, got)
}

// Two versions of psrpc use different numbers for the field skip_claim. Both must be understood.
func TestParseRequest_SkipClaimOfBothVersions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		value fields
		want  bool
	}{
		"v0.7.4":            {fields{}.varint(9, 1), true},
		"v0.7.5":            {fields{}.varint(10, 1), true},
		"both":              {fields{}.varint(9, 1).varint(10, 1), true},
		"one of them false": {fields{}.varint(9, 1).varint(10, 0), true},
		"last wins":         {fields{}.varint(9, 1).varint(9, 0), false},
		"other wire type":   {fields{}.bytes(9, "x").bytes(10, "x"), false},
		"neither":           {nil, false},
	} {
		got, err := wire.ParseRequest(c.value)
		require.NoError(t, err, name)
		assert.Equal(t, c.want, got.SkipClaim, name)
	}
}

// ParseEnvelope must reject a value that is compressed with an unknown codec. It must also reject a
// value that is not compressed although the envelope names a codec.
func TestParseEnvelope_Compression(t *testing.T) {
	t.Parallel()
	message, compressed := string(fields{}.bytes(1, "id")), string(compress(t, fields{}.bytes(1, "id")))
	frame := func(value string, codec uint64) fields {
		return fields{}.bytes(1, "internal.Request").bytes(2, value).varint(4, codec)
	}
	for name, valid := range map[string]fields{
		"none":            frame(message, 0),
		"gzip":            frame(compressed, 1),
		"gzip, not said":  frame(compressed, 0),
		"gzip of nothing": frame("", 1),
		"last wins":       fields{}.varint(4, 2).bytes(1, "internal.Request").bytes(2, compressed).varint(4, 1),
		"other wire type": fields{}.bytes(1, "internal.Request").bytes(2, message).bytes(4, "x"),
	} {
		env, err := wire.ParseEnvelope(valid)
		require.NoError(t, err, name)
		value, err := wire.Decompress(env.Value, 100)
		require.NoError(t, err, name)
		_, err = wire.ParseRequest(value)
		require.NoError(t, err, name)
	}
	for name, invalid := range map[string]fields{
		"another codec":      frame(message, 2),
		"another, gzip":      frame(compressed, 2),
		"another, nothing":   frame("", 2),
		"negative":           frame(message, math.MaxUint64),
		"gzip, but is plain": frame(message, 1),
	} {
		_, err := wire.ParseEnvelope(invalid)
		require.ErrorContains(t, err, "compressed", name)
	}
}

func TestParseRequest_ForeignMetadataKey(t *testing.T) {
	t.Parallel()
	entry := fields{}.bytes(1, "key").bytes(2, "value").varint(1, 7).varint(2, 7)
	value := fields{}.bytes(7, string(entry))
	got, err := wire.ParseRequest(value)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"key": "value"}, got.Metadata)
	_, err = parseReference(t, "Request", value)
	require.ErrorIs(t, err, errNoReference, "protobuf is mended: remove this line, and the recover in parseReference")
}

func TestParseRequest_EmptyBodyReplacesEarlier(t *testing.T) {
	t.Parallel()
	got, err := wire.ParseRequest(fields{}.bytes(8, "old").bytes(8, ""))
	require.NoError(t, err)
	assert.Nil(t, got.Body.Raw)
}

func TestParse_TextMustBeUTF8(t *testing.T) {
	t.Parallel()
	const bad = "a\xff"
	for name, c := range map[string]struct {
		kind  wire.Kind
		value fields
	}{
		"request id":          {wire.KindRequest, fields{}.bytes(1, bad)},
		"overwritten id":      {wire.KindRequest, fields{}.bytes(1, bad).bytes(1, "good")},
		"client id":           {wire.KindRequest, fields{}.bytes(2, bad)},
		"metadata key":        {wire.KindRequest, fields{}.bytes(7, string(fields{}.bytes(1, bad)))},
		"metadata value":      {wire.KindRequest, fields{}.bytes(7, string(fields{}.bytes(2, bad)))},
		"server id":           {wire.KindResponse, fields{}.bytes(2, bad)},
		"error":               {wire.KindResponse, fields{}.bytes(5, bad)},
		"code":                {wire.KindResponse, fields{}.bytes(6, bad)},
		"claim request id":    {wire.KindClaimRequest, fields{}.bytes(1, bad)},
		"claiming server id":  {wire.KindClaimRequest, fields{}.bytes(2, bad)},
		"chosen server id":    {wire.KindClaimResponse, fields{}.bytes(2, bad)},
		"canceled request id": {wire.KindCancel, fields{}.bytes(1, bad)},
		"stream id":           {wire.KindStream, fields{}.bytes(1, bad)},
		"stream request id":   {wire.KindStream, fields{}.bytes(2, bad)},
		"node id":             {wire.KindStream, fields{}.bytes(6, string(fields{}.bytes(1, bad)))},
		"stream metadata key": {wire.KindStream, fields{}.bytes(6, string(fields{}.bytes(7, string(fields{}.bytes(1, bad)))))},
		"close error":         {wire.KindStream, fields{}.bytes(9, string(fields{}.bytes(1, bad)))},
		"close code":          {wire.KindStream, fields{}.bytes(9, string(fields{}.bytes(2, bad)))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parse(c.kind, c.value)
			require.ErrorContains(t, err, "UTF-8")
		})
	}
}

func TestParse_MalformedDetail(t *testing.T) {
	t.Parallel()
	for _, detail := range []string{"\x0a\x05", "\x0a\x01\xff"} {
		_, err := wire.ParseResponse(fields{}.bytes(8, detail))
		require.ErrorContains(t, err, "malformed frame")
		_, err = wire.ParseStream(fields{}.bytes(9, string(fields{}.bytes(1000, detail))))
		require.ErrorContains(t, err, "malformed frame")
	}
}

func TestParseStream_Operations(t *testing.T) {
	t.Parallel()
	open := func(f fields) fields { return fields{}.bytes(6, string(f)) }
	for name, c := range map[string]struct {
		value fields
		want  wire.Stream
	}{
		"none":             {nil, wire.Stream{}},
		"an unknown one":   {fields{}.bytes(5, "?").bytes(10, "?"), wire.Stream{}},
		"empty ack":        {fields{}.bytes(8, ""), wire.Stream{Op: wire.StreamAck}},
		"ack with unknown": {fields{}.bytes(8, string(fields{}.varint(1, 1))), wire.Stream{Op: wire.StreamAck}},
		"merged opens": {
			append(open(fields{}.bytes(1, "node")), open(fields{}.bytes(7, string(fields{}.bytes(1, "k"))))...),
			wire.Stream{Op: wire.StreamOpen, NodeID: []byte("node"), Metadata: map[string]string{"k": ""}},
		},
		"close replaces open": {
			open(fields{}.bytes(1, "node")).bytes(1, "id").bytes(9, string(fields{}.bytes(1, "text"))),
			wire.Stream{StreamID: []byte("id"), Op: wire.StreamClose, Error: "text"},
		},
		"ack replaces message": {
			fields{}.bytes(7, string(fields{}.bytes(2, "body"))).bytes(8, ""),
			wire.Stream{Op: wire.StreamAck},
		},
		"merged acks": {
			fields{}.bytes(8, string(fields{}.varint(1000, 7))).bytes(8, ""),
			wire.Stream{Op: wire.StreamAck, Keepalive: 7},
		},
		"ack takes no keepalive of an open": {
			open(fields{}.varint(1000, 7)).bytes(8, ""),
			wire.Stream{Op: wire.StreamAck},
		},
		"ack drops the details of a close": {
			fields{}.bytes(9, string(fields{}.bytes(1000, "\x0a\x01a"))).bytes(8, ""),
			wire.Stream{Op: wire.StreamAck},
		},
		"ping with unknown":    {fields{}.bytes(1000, string(fields{}.varint(1, 1))), wire.Stream{Op: wire.StreamPing}},
		"ping replaces close":  {fields{}.bytes(9, "\x0a\x01a").bytes(1000, ""), wire.Stream{Op: wire.StreamPing}},
		"message without body": {fields{}.bytes(7, ""), wire.Stream{Op: wire.StreamMessage}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := wire.ParseStream(c.value)
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
			checkInner(t, wire.KindStream, c.value)
		})
	}
}

func TestParseStream_MergedCloses(t *testing.T) {
	t.Parallel()
	value := fields{}.
		bytes(9, string(fields{}.bytes(1000, "\x0a\x01a").bytes(1, "text"))).
		bytes(9, string(fields{}.bytes(1000, "\x0a\x01b")))
	got, err := wire.ParseStream(value)
	require.NoError(t, err)
	assert.Equal(t, "text", got.Error)
	require.Len(t, got.Details, 2)
	assert.Equal(t, "a", got.Details[0].GetTypeUrl())
	assert.Equal(t, "b", got.Details[1].GetTypeUrl())
	checkInner(t, wire.KindStream, value)
}

func TestParseStream_MalformedOperation(t *testing.T) {
	t.Parallel()
	for _, number := range []protowire.Number{6, 7, 8, 9, 1000} {
		_, err := wire.ParseStream(fields{}.bytes(number, "\x0a\x05"))
		require.ErrorContains(t, err, "malformed frame", number)
	}
}

// TestParse_SlicesAreClipped checks that append copies a decoded slice and does not change the
// frame.
func TestParse_SlicesAreClipped(t *testing.T) {
	t.Parallel()
	req := wire.Request{RequestID: []byte("id"), ClientID: []byte("client"), Body: wire.Body{Raw: []byte("body")}}
	frame, err := req.AppendFrame(nil)
	require.NoError(t, err)
	frame = wire.AppendRoutingKey(frame, "M.REQ")
	before := string(frame)

	env, err := wire.ParseEnvelope(frame)
	require.NoError(t, err)
	key, err := wire.RoutingKey(frame)
	require.NoError(t, err)
	got, err := wire.ParseRequest(env.Value)
	require.NoError(t, err)
	for _, slice := range [][]byte{
		env.TypeName, env.Value, key, got.RequestID, got.ClientID, got.Body.Raw,
	} {
		assert.NotEmpty(t, slice)
		assert.Equal(t, len(slice), cap(slice))
		_ = append(slice, "overwrite"...)
	}
	assert.Equal(t, before, string(frame))
}

// TestParse_PayloadIsNotCopied checks that decoded slices alias the frame.
func TestParse_PayloadIsNotCopied(t *testing.T) {
	t.Parallel()
	value := fields{}.bytes(8, "body")
	got, err := wire.ParseRequest(value)
	require.NoError(t, err)
	value[len(value)-1] = 'X'
	assert.Equal(t, "bodX", string(got.Body.Raw))
}
