package wire_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/jhump/protoreflect/desc/protoparse" //nolint:staticcheck // deprecated, but the module's parser
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// schema contains the messages of testdata/wire.proto. Tests compare the codec with protobuf's own
// decoder and encoder for this schema.
var schema = sync.OnceValues(func() (protoreflect.MessageDescriptors, error) {
	parser := protoparse.Parser{ImportPaths: []string{"testdata"}}
	files, err := parser.ParseFiles("wire.proto")
	if err != nil {
		return nil, err
	}
	return files[0].UnwrapFile().Messages(), nil
})

// newReference returns an empty message of the schema.
func newReference(t require.TestingT, name string) *dynamicpb.Message {
	messages, err := schema()
	require.NoError(t, err)
	descriptor := messages.ByName(protoreflect.Name(name))
	require.NotNil(t, descriptor, name)
	return dynamicpb.NewMessage(descriptor)
}

// parseReference decodes a message with protobuf and discards its unknown fields.
func parseReference(t require.TestingT, name string, b []byte) (message *dynamicpb.Message, err error) {
	defer func() {
		// Protobuf's decoder for dynamic messages panics if the key of a map entry is repeated with
		// another wire type. The decoder for generated messages skips the second key; see
		// TestParseRequest_ForeignMetadataKey.
		if cause := recover(); cause != nil {
			require.Contains(t, fmt.Sprint(cause), "cannot convert nil to map key")
			err = errNoReference
		}
	}()
	message = newReference(t, name)
	return message, proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, message)
}

// errNoReference is returned for messages at which protobuf's decoder panics.
var errNoReference = errors.New("protobuf panics at this message")

// nonceOf returns the nonce of a frame. The codec itself does not return it, because receivers
// ignore nonces.
func nonceOf(t require.TestingT, frame []byte) uint64 {
	envelope, err := parseReference(t, "Msg", frame)
	require.NoError(t, err)
	return envelope.Get(field(envelope, "nonce")).Uint()
}

// canonical encodes a message with protobuf, with sorted map entries.
func canonical(t require.TestingT, message proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	require.NoError(t, err)
	return b
}

// canonicalFrame decodes and encodes a frame with protobuf, so that equivalent frames become
// identical bytes.
func canonicalFrame(t testing.TB, frame []byte) []byte {
	t.Helper()
	env, err := parseReference(t, "Msg", frame)
	require.NoError(t, err)
	envelope, err := wire.ParseEnvelope(frame)
	require.NoError(t, err)
	if name, ok := schemaName[envelope.Kind]; ok {
		inner, err := parseReference(t, name, envelope.Value)
		require.NoError(t, err)
		set(env, "value", protoreflect.ValueOfBytes(canonical(t, inner)))
	}
	return canonical(t, env)
}

var schemaName = map[wire.Kind]string{
	wire.KindRequest:       "Request",
	wire.KindResponse:      "Response",
	wire.KindClaimRequest:  "ClaimRequest",
	wire.KindClaimResponse: "ClaimResponse",
	wire.KindStream:        "Stream",
	wire.KindCancel:        "Cancel",
	wire.KindDiscover:      "Discover",
	wire.KindPresence:      "Presence",
}

// message is implemented by all inner messages.
type message interface {
	AppendFrame(dst []byte) ([]byte, error)
}

// parse decodes an inner message of any kind.
func parse(kind wire.Kind, value []byte) (message, error) {
	switch kind {
	case wire.KindRequest:
		m, err := wire.ParseRequest(value)
		return &m, err
	case wire.KindResponse:
		m, err := wire.ParseResponse(value)
		return &m, err
	case wire.KindClaimRequest:
		m, err := wire.ParseClaimRequest(value)
		return &m, err
	case wire.KindClaimResponse:
		m, err := wire.ParseClaimResponse(value)
		return &m, err
	case wire.KindCancel:
		m, err := wire.ParseCancel(value)
		return &m, err
	case wire.KindDiscover:
		m, err := wire.ParseDiscover(value)
		return &m, err
	case wire.KindPresence:
		m, err := wire.ParsePresence(value)
		return &m, err
	default:
		m, err := wire.ParseStream(value)
		return &m, err
	}
}

// toReference copies the fields of an inner message to a message of the schema, without using the
// codec.
func toReference(t require.TestingT, m message) *dynamicpb.Message {
	switch m := m.(type) {
	case *wire.Request:
		return requestReference(t, m)
	case *wire.Response:
		return responseReference(t, m)
	case *wire.ClaimRequest:
		ref := newReference(t, "ClaimRequest")
		setText(ref, "request_id", string(m.RequestID))
		setText(ref, "server_id", string(m.ServerID))
		set(ref, "affinity", protoreflect.ValueOfFloat32(m.Affinity))
		set(ref, "handling", protoreflect.ValueOfBool(m.Handling))
		set(ref, "declined", protoreflect.ValueOfBool(m.Declined))
		set(ref, "subscribers", protoreflect.ValueOfUint32(m.Subscribers))
		return ref
	case *wire.ClaimResponse:
		ref := newReference(t, "ClaimResponse")
		setText(ref, "request_id", string(m.RequestID))
		setText(ref, "server_id", string(m.ServerID))
		return ref
	case *wire.Stream:
		return streamReference(t, m)
	case *wire.Cancel:
		ref := newReference(t, "Cancel")
		setText(ref, "request_id", string(m.RequestID))
		return ref
	case *wire.Discover:
		ref := newReference(t, "Discover")
		setText(ref, "client_id", string(m.ClientID))
		setText(ref, "channel", string(m.Channel))
		appendTexts(ref, "answered", m.Answered)
		return ref
	case *wire.Presence:
		ref := newReference(t, "Presence")
		setText(ref, "server_id", string(m.ServerID))
		set(ref, "state", protoreflect.ValueOfUint64(uint64(m.State)))
		appendTexts(ref, "channel", m.Channels)
		setText(ref, "address", string(m.Address))
		setText(ref, "receiver", string(m.Receiver))
		set(ref, "members", protoreflect.ValueOfUint32(m.Members))
		setText(ref, "service", string(m.Service))
		return ref
	default:
		require.Fail(t, "no such message")
		return nil
	}
}

func requestReference(t require.TestingT, m *wire.Request) *dynamicpb.Message {
	ref := newReference(t, "Request")
	setText(ref, "request_id", string(m.RequestID))
	setText(ref, "client_id", string(m.ClientID))
	set(ref, "sent_at", protoreflect.ValueOfInt64(m.SentAt))
	set(ref, "expiry", protoreflect.ValueOfInt64(m.Expiry))
	set(ref, "multi", protoreflect.ValueOfBool(m.Multi))
	setMetadata(ref, m.Metadata)
	set(ref, "raw_request", protoreflect.ValueOfBytes(m.Body.Raw))
	set(ref, "skip_claim", protoreflect.ValueOfBool(m.SkipClaim))
	set(ref, "accept_direct", protoreflect.ValueOfBool(m.AcceptDirect))
	set(ref, "accept_decline", protoreflect.ValueOfBool(m.AcceptDecline))
	set(ref, "announce_after", protoreflect.ValueOfUint32(m.AnnounceAfter))
	return ref
}

func responseReference(t require.TestingT, m *wire.Response) *dynamicpb.Message {
	ref := newReference(t, "Response")
	setText(ref, "request_id", string(m.RequestID))
	setText(ref, "server_id", string(m.ServerID))
	set(ref, "sent_at", protoreflect.ValueOfInt64(m.SentAt))
	setText(ref, "error", m.Error)
	setText(ref, "code", m.Code)
	set(ref, "raw_response", protoreflect.ValueOfBytes(m.Body.Raw))
	setDetails(ref, m.Details)
	set(ref, "subscribers", protoreflect.ValueOfUint32(m.Subscribers))
	set(ref, "unprocessed", protoreflect.ValueOfBool(m.Unprocessed))
	set(ref, "served_in", protoreflect.ValueOfUint32(m.ServedIn))
	return ref
}

func streamReference(t require.TestingT, m *wire.Stream) *dynamicpb.Message {
	ref := newReference(t, "Stream")
	setText(ref, "stream_id", string(m.StreamID))
	setText(ref, "request_id", string(m.RequestID))
	set(ref, "sent_at", protoreflect.ValueOfInt64(m.SentAt))
	set(ref, "expiry", protoreflect.ValueOfInt64(m.Expiry))
	switch m.Op {
	case wire.StreamNone:
	case wire.StreamOpen:
		open := ref.Mutable(field(ref, "open")).Message()
		setText(open, "node_id", string(m.NodeID))
		setMetadata(open, m.Metadata)
		set(open, "keepalive", protoreflect.ValueOfInt64(m.Keepalive))
	case wire.StreamMessage:
		set(ref.Mutable(field(ref, "message")).Message(), "raw_message", protoreflect.ValueOfBytes(m.Body.Raw))
	case wire.StreamAck:
		set(ref.Mutable(field(ref, "ack")).Message(), "keepalive", protoreflect.ValueOfInt64(m.Keepalive))
	case wire.StreamClose:
		closing := ref.Mutable(field(ref, "close")).Message()
		setText(closing, "error", m.Error)
		setText(closing, "code", m.Code)
		setDetails(closing, m.Details)
	case wire.StreamPing:
		ref.Mutable(field(ref, "ping"))
	}
	return ref
}

func field(m protoreflect.Message, name protoreflect.Name) protoreflect.FieldDescriptor {
	return m.Descriptor().Fields().ByName(name)
}

func set(m protoreflect.Message, name protoreflect.Name, value protoreflect.Value) {
	m.Set(field(m, name), value)
}

// appendTexts appends the texts to a repeated field.
func appendTexts(ref *dynamicpb.Message, field protoreflect.Name, texts [][]byte) {
	for _, text := range texts {
		ref.Mutable(ref.Descriptor().Fields().ByName(field)).List().Append(protoreflect.ValueOfString(string(text)))
	}
}

func setText(m protoreflect.Message, name protoreflect.Name, text string) {
	set(m, name, protoreflect.ValueOfString(text))
}

func setMetadata(m protoreflect.Message, metadata map[string]string) {
	entries := m.Mutable(field(m, "metadata")).Map()
	for key, value := range metadata {
		entries.Set(protoreflect.ValueOfString(key).MapKey(), protoreflect.ValueOfString(value))
	}
}

func setDetails(m protoreflect.Message, details []*anypb.Any) {
	elements := m.Mutable(field(m, "error_details")).List()
	for _, detail := range details {
		element := elements.AppendMutable().Message()
		setText(element, "type_url", detail.GetTypeUrl())
		set(element, "value", protoreflect.ValueOfBytes(detail.GetValue()))
	}
}
