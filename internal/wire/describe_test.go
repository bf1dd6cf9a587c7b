package wire_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// describe decodes a frame into the form of the "decoded" objects in vectors.json. It omits the
// times that are missing in want.
func describe(t *testing.T, frame []byte, want map[string]any) map[string]any {
	t.Helper()
	env, err := wire.ParseEnvelope(frame)
	require.NoError(t, err)
	envelope := map[string]any{"type_url": "type.googleapis.com/" + string(env.TypeName)}
	key, err := wire.RoutingKey(frame)
	require.NoError(t, err)
	if key != nil {
		envelope["channel"] = string(key)
	}
	decoded := map[string]any{"envelope": envelope, "message": describeInner(t, env)}
	describeUnknown(t, frame, decoded)

	inner := decoded["message"].(map[string]any)
	for _, name := range []string{"sent_at", "expiry"} {
		if _, ok := want[name]; !ok {
			delete(inner, name)
		}
	}
	return throughJSON(t, decoded)
}

func describeInner(t *testing.T, env wire.Envelope) map[string]any {
	t.Helper()
	if env.Kind == wire.KindUnknown {
		require.Equal(t, "google.protobuf.StringValue", string(env.TypeName))
		return map[string]any{"value": describeBody(env.Value)["as_StringValue"]}
	}
	m, err := parse(env.Kind, env.Value)
	require.NoError(t, err)
	switch m := m.(type) {
	case *wire.Request:
		out := map[string]any{
			"request_id": string(m.RequestID), "client_id": string(m.ClientID),
			"multi": m.Multi, "raw_request": describeBody(m.Body.Raw),
		}
		describeTimes(out, m.SentAt, m.Expiry)
		if m.Metadata != nil {
			out["metadata"] = m.Metadata
		}
		return out
	case *wire.Response:
		return describeResponse(t, m)
	case *wire.ClaimRequest:
		return map[string]any{"request_id": string(m.RequestID), "server_id": string(m.ServerID), "affinity": m.Affinity}
	case *wire.ClaimResponse:
		return map[string]any{"request_id": string(m.RequestID), "server_id": string(m.ServerID)}
	case *wire.Stream:
		return describeStream(m)
	default:
		return nil
	}
}

func describeResponse(t *testing.T, m *wire.Response) map[string]any {
	t.Helper()
	out := map[string]any{"request_id": string(m.RequestID), "server_id": string(m.ServerID)}
	describeTimes(out, m.SentAt, 0)
	if m.Error != "" || m.Code != "" {
		out["error"], out["code"] = m.Error, m.Code
	} else {
		out["raw_response"] = describeBody(m.Body.Raw)
	}
	details := make([]any, 0, len(m.Details))
	for _, detail := range m.Details {
		details = append(details, describeDetail(t, detail))
	}
	if len(details) > 0 {
		out["error_details"] = details
	}
	return out
}

func describeDetail(t *testing.T, detail *anypb.Any) map[string]any {
	t.Helper()
	inner, err := detail.UnmarshalNew()
	require.NoError(t, err)
	out := map[string]any{"type_url": detail.GetTypeUrl(), "value_hex": hex.EncodeToString(detail.GetValue())}
	switch inner := inner.(type) {
	case *wrapperspb.StringValue:
		out["value"] = inner.GetValue()
	case *durationpb.Duration:
		out["value"] = fmt.Sprintf("%.3fs", inner.AsDuration().Seconds())
	}
	return out
}

func describeStream(m *wire.Stream) map[string]any {
	out := map[string]any{"stream_id": string(m.StreamID), "request_id": string(m.RequestID)}
	describeTimes(out, m.SentAt, m.Expiry)
	switch m.Op {
	case wire.StreamNone:
	case wire.StreamOpen:
		open := map[string]any{"node_id": string(m.NodeID)}
		if m.Metadata != nil {
			open["metadata"] = m.Metadata
		}
		out["open"] = open
	case wire.StreamMessage:
		out["message"] = map[string]any{"raw_message": describeBody(m.Body.Raw)}
	case wire.StreamAck:
		out["ack"] = map[string]any{}
	case wire.StreamClose:
		out["close"] = map[string]any{"error": m.Error, "code": m.Code}
	case wire.StreamPing: // psrpc does not send pings
	}
	return out
}

func describeTimes(out map[string]any, sentAt, expiry int64) {
	out["sent_at"] = strconv.FormatInt(sentAt, 10)
	out["expiry"] = strconv.FormatInt(expiry, 10)
	if expiry != 0 {
		out["ttl_ms"] = time.Duration(expiry - sentAt).Milliseconds()
	}
}

// describeBody decodes a user's message. All messages in vectors.json are StringValue.
func describeBody(raw []byte) map[string]any {
	var text wrapperspb.StringValue
	if proto.Unmarshal(raw, &text) != nil {
		return map[string]any{"as_StringValue": nil, "hex": hex.EncodeToString(raw)}
	}
	return map[string]any{"as_StringValue": text.GetValue()}
}

// describeUnknown adds the unknown fields of the envelope. They are decoded by protobuf, because
// the codec skips them.
func describeUnknown(t *testing.T, frame []byte, decoded map[string]any) {
	t.Helper()
	env := newReference(t, "Msg")
	require.NoError(t, proto.Unmarshal(frame, env))
	unknown := env.GetUnknown()
	if len(unknown) == 0 {
		return
	}
	decoded["unknown_hex"] = hex.EncodeToString(unknown)
	decoded["envelope"].(map[string]any)["unknown"] = unknownFields(unknown)
}

func unknownFields(unknown protoreflect.RawFields) []string {
	var fields []string
	for len(unknown) > 0 {
		number, wireType, n := protowire.ConsumeField(unknown)
		fields = append(fields, fmt.Sprintf("field %d wiretype %d", number, wireType))
		unknown = unknown[n:]
	}
	return fields
}

func throughJSON(t *testing.T, in map[string]any) map[string]any {
	t.Helper()
	data, err := json.Marshal(in)
	require.NoError(t, err)
	var out map[string]any
	require.NoError(t, json.Unmarshal(data, &out))
	return out
}
