package wire_test

import (
	"encoding/hex"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

const requestHead = "\x0a\x24type.googleapis.com/internal.Request"

func TestAppendFrame_LeavesOutDefaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		message message
		want    string
	}{
		"request":        {&wire.Request{}, requestHead},
		"empty message":  {&wire.Request{Body: wire.Body{Message: wrapperspb.String("")}}, requestHead},
		"nil message":    {&wire.Request{Body: wire.Body{Message: (*wrapperspb.StringValue)(nil)}}, requestHead},
		"response":       {&wire.Response{}, "\x0a\x25type.googleapis.com/internal.Response"},
		"claim":          {&wire.ClaimRequest{}, "\x0a\x29type.googleapis.com/internal.ClaimRequest"},
		"choice":         {&wire.ClaimResponse{}, "\x0a\x2atype.googleapis.com/internal.ClaimResponse"},
		"stream":         {&wire.Stream{}, "\x0a\x23type.googleapis.com/internal.Stream"},
		"empty open":     {&wire.Stream{Op: wire.StreamOpen}, "\x0a\x23type.googleapis.com/internal.Stream\x12\x02\x32\x00"},
		"empty message2": {&wire.Stream{Op: wire.StreamMessage}, "\x0a\x23type.googleapis.com/internal.Stream\x12\x02\x3a\x00"},
		"ack":            {&wire.Stream{Op: wire.StreamAck}, "\x0a\x23type.googleapis.com/internal.Stream\x12\x02\x42\x00"},
		"ping":           {&wire.Stream{Op: wire.StreamPing}, "\x0a\x23type.googleapis.com/internal.Stream\x12\x03\xc2\x3e\x00"},
		"cancel":         {&wire.Cancel{}, "\x0a\x23type.googleapis.com/dynpsrpc.Cancel"},
		"empty close":    {&wire.Stream{Op: wire.StreamClose}, "\x0a\x23type.googleapis.com/internal.Stream\x12\x02\x4a\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			frame, err := c.message.AppendFrame(nil)
			require.NoError(t, err)
			assert.Equal(t, c.want, string(frame))
		})
	}
}

func TestAppendFrame_MessageWinsOverRaw(t *testing.T) {
	t.Parallel()
	encoded, err := proto.Marshal(wrapperspb.String("message"))
	require.NoError(t, err)
	for name, m := range map[string]message{
		"request":  &wire.Request{Body: wire.Body{Raw: []byte("raw"), Message: wrapperspb.String("message")}},
		"response": &wire.Response{Body: wire.Body{Raw: []byte("raw"), Message: wrapperspb.String("message")}},
		"stream":   &wire.Stream{Op: wire.StreamMessage, Body: wire.Body{Raw: []byte("raw"), Message: wrapperspb.String("message")}},
	} {
		frame, err := m.AppendFrame(nil)
		require.NoError(t, err)
		assert.Contains(t, string(frame), string(encoded), name)
		assert.NotContains(t, string(frame), "raw", name)
	}
}

func TestAppendFrame_DynamicMessage(t *testing.T) {
	t.Parallel()
	generated := &descriptorpb.FileDescriptorProto{
		Name:        new("a.proto"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: new(strings.Repeat("A", 300))}},
	}
	encoded, err := proto.Marshal(generated)
	require.NoError(t, err)
	dynamic := dynamicpb.NewMessage(generated.ProtoReflect().Descriptor())
	require.NoError(t, proto.Unmarshal(encoded, dynamic))

	for _, m := range []proto.Message{generated, dynamic} {
		req := wire.Request{Body: wire.Body{Message: m}}
		frame, err := req.AppendFrame(nil)
		require.NoError(t, err)
		env, err := wire.ParseEnvelope(frame)
		require.NoError(t, err)
		got, err := wire.ParseRequest(env.Value)
		require.NoError(t, err)
		decoded := new(descriptorpb.FileDescriptorProto) // dynamic messages are encoded in random field order
		require.NoError(t, proto.Unmarshal(got.Body.Raw, decoded))
		assert.True(t, proto.Equal(generated, decoded), decoded)
	}
}

func TestAppendFrame_Errors(t *testing.T) {
	t.Parallel()
	bad := []byte("a\xff")
	badMessage := wire.Body{Message: wrapperspb.String("a\xff")}
	missing := wire.Body{Message: &descriptorpb.UninterpretedOption_NamePart{}} // lacks two required fields
	for name, m := range map[string]message{
		"request id":       &wire.Request{RequestID: bad},
		"client id":        &wire.Request{ClientID: bad},
		"metadata key":     &wire.Request{Metadata: map[string]string{"a\xff": ""}},
		"metadata value":   &wire.Request{Metadata: map[string]string{"": "a\xff"}},
		"request body":     &wire.Request{Body: badMessage},
		"required fields":  &wire.Request{Body: missing},
		"response id":      &wire.Response{RequestID: bad},
		"server id":        &wire.Response{ServerID: bad},
		"response body":    &wire.Response{Body: badMessage},
		"detail":           &wire.Response{Details: []*anypb.Any{{TypeUrl: "a\xff"}}},
		"claim request id": &wire.ClaimRequest{RequestID: bad},
		"claim server id":  &wire.ClaimRequest{ServerID: bad},
		"choice server id": &wire.ClaimResponse{ServerID: bad},
		"cancel id":        &wire.Cancel{RequestID: bad},
		"stream id":        &wire.Stream{StreamID: bad},
		"stream request":   &wire.Stream{RequestID: bad},
		"node id":          &wire.Stream{Op: wire.StreamOpen, NodeID: bad},
		"stream metadata":  &wire.Stream{Op: wire.StreamOpen, Metadata: map[string]string{"a\xff": ""}},
		"close detail":     &wire.Stream{Op: wire.StreamClose, Details: []*anypb.Any{{TypeUrl: "a\xff"}}},
		"stream message":   &wire.Stream{Op: wire.StreamMessage, Body: badMessage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dst, err := m.AppendFrame([]byte("dst"))
			if name == "required fields" {
				require.ErrorContains(t, err, "required field")
			} else {
				require.ErrorContains(t, err, "UTF-8")
			}
			assert.Equal(t, "dst", string(dst))
		})
	}
}

func TestAppendFrame_RepairsErrorText(t *testing.T) {
	t.Parallel()
	frame, err := (&wire.Response{Error: "no\xffroom", Code: "a\xff"}).AppendFrame(nil)
	require.NoError(t, err)
	env, err := wire.ParseEnvelope(frame)
	require.NoError(t, err)
	res, err := wire.ParseResponse(env.Value)
	require.NoError(t, err)
	assert.Equal(t, wire.Response{Error: "no\ufffdroom", Code: "a\ufffd"}, res)

	frame, err = (&wire.Stream{Op: wire.StreamClose, Error: "no\xffroom", Code: "a\xff"}).AppendFrame(nil)
	require.NoError(t, err)
	env, err = wire.ParseEnvelope(frame)
	require.NoError(t, err)
	closing, err := wire.ParseStream(env.Value)
	require.NoError(t, err)
	assert.Equal(t, wire.Stream{Op: wire.StreamClose, Error: "no\ufffdroom", Code: "a\ufffd"}, closing)
}

// changing is a message that grows between the computation of its size and its encoding.
type changing struct {
	*wrapperspb.StringValue
}

func (c changing) ProtoReflect() protoreflect.Message {
	c.Value += "x"
	return c.StringValue.ProtoReflect()
}

func TestAppendFrame_MessageChangedMeanwhile(t *testing.T) {
	t.Parallel()
	req := wire.Request{Body: wire.Body{Message: changing{wrapperspb.String("")}}}
	_, err := req.AppendFrame(nil)
	require.ErrorContains(t, err, "changed while it was being encoded")
}

func TestAppendFrame_Affinity(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		affinity float32
		want     string
	}{
		"zero":          {0, ""},
		"one":           {1, "1d0000803f"},
		"negative":      {-0.5, "1d000000bf"},
		"negative zero": {float32(math.Copysign(0, -1)), "1d00000080"},
		"infinity":      {float32(math.Inf(1)), "1d0000807f"},
		"not a number":  {float32(math.NaN()), "1d0000c07f"},
	} {
		frame, err := (&wire.ClaimRequest{Affinity: c.affinity}).AppendFrame(nil)
		require.NoError(t, err)
		env, err := wire.ParseEnvelope(frame)
		require.NoError(t, err)
		assert.Equal(t, c.want, hex.EncodeToString(env.Value), name)
		claim, err := wire.ParseClaimRequest(env.Value)
		require.NoError(t, err)
		assert.Equal(t, math.Float32bits(c.affinity), math.Float32bits(claim.Affinity), name)
	}
}

func TestAppendMessageFrame_AsPsrpc(t *testing.T) {
	t.Parallel()
	const head = "\x0a\x2ftype.googleapis.com/google.protobuf.StringValue"
	for name, c := range map[string]struct {
		body  wire.Body
		nonce uint64
		want  string
	}{
		"message":       {wire.Body{Message: wrapperspb.String("u1")}, 0, head + "\x12\x04\x0a\x02u1"},
		"raw":           {wire.Body{Raw: []byte("\x0a\x02u1")}, 0, head + "\x12\x04\x0a\x02u1"},
		"empty message": {wire.Body{Message: wrapperspb.String("")}, 0, head},
		"nothing":       {wire.Body{}, 0, head},
		"nonce":         {wire.Body{}, 0x0102, head + "\xc1\x3e\x02\x01\x00\x00\x00\x00\x00\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			frame, err := wire.AppendMessageFrame(nil, c.body, "google.protobuf.StringValue", c.nonce)
			require.NoError(t, err)
			assert.Equal(t, c.want, string(frame))
			env, err := wire.ParseEnvelope(frame)
			require.NoError(t, err)
			assert.Equal(t, wire.KindUnknown, env.Kind)
			assert.Equal(t, c.nonce, nonceOf(t, frame))
		})
	}
}

func TestAppendMetadata_Bytes(t *testing.T) {
	t.Parallel()
	frame, err := wire.AppendMetadata([]byte("frame"), map[string]string{"k": "value"})
	require.NoError(t, err)
	assert.Equal(t, "frame"+"\xca\x3e\x0a\x0a\x01k\x12\x05value", string(frame))
	frame, err = wire.AppendMetadata([]byte("frame"), nil)
	require.NoError(t, err)
	assert.Equal(t, "frame", string(frame))
	frame, err = wire.AppendMetadata([]byte("frame"), map[string]string{"k": "\xff"})
	require.ErrorContains(t, err, "UTF-8")
	assert.Equal(t, "frame", string(frame))
}

func TestAppendMetadata_ParsedAgain(t *testing.T) {
	t.Parallel()
	metadata := map[string]string{"a": "1", "": "", "ü": "three"}
	frame, err := wire.AppendMessageFrame(nil, wire.Body{Raw: []byte("\x0a\x02u1")}, "google.protobuf.StringValue", 7)
	require.NoError(t, err)
	frame, err = wire.AppendMetadata(frame, metadata)
	require.NoError(t, err)
	checkEnvelope(t, frame)
	frame = wire.AppendRoutingKey(frame, "M.REQ")
	env, err := wire.ParseEnvelope(frame)
	require.NoError(t, err)
	assert.Equal(t, wire.Envelope{
		TypeName: []byte("google.protobuf.StringValue"), Value: []byte("\x0a\x02u1"), RoutingKey: []byte("M.REQ"),
		Metadata: metadata,
	}, env)
	assert.Equal(t, uint64(7), nonceOf(t, frame))
	key, err := wire.RoutingKey(frame)
	require.NoError(t, err)
	assert.Equal(t, "M.REQ", string(key))
}

func TestAppendMessageFrame_Errors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body     wire.Body
		typeName string
		want     string
	}{
		"no type name":  {wire.Body{}, "", "full name of the message"},
		"bad type name": {wire.Body{}, "a\xff", "full name of the message"},
		"bad message":   {wire.Body{Message: wrapperspb.String("\xff")}, "google.protobuf.StringValue", "UTF-8"},
	} {
		dst, err := wire.AppendMessageFrame([]byte("dst"), c.body, c.typeName, 1)
		require.ErrorContains(t, err, c.want, name)
		assert.Equal(t, "dst", string(dst), name)
	}
}

func TestAppendRoutingKey_LaterKeyWins(t *testing.T) {
	t.Parallel()
	frame, err := (&wire.ClaimResponse{}).AppendFrame(nil)
	require.NoError(t, err)
	assert.Equal(t, frame, wire.AppendRoutingKey(frame, ""))
	for _, key := range []string{"A.REQ", "B.RCLAIM"} {
		frame = wire.AppendRoutingKey(frame, key)
		got, err := wire.RoutingKey(frame)
		require.NoError(t, err)
		assert.Equal(t, key, string(got))
	}
}
