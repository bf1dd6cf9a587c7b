package fleet

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// tapSource declares a service whose messages have secrets of every kind.
const tapSource = `
syntax = "proto3";
package shop;
import "options.proto";
import "google/protobuf/any.proto";
import "google/protobuf/descriptor.proto";
import "google/protobuf/wrappers.proto";

extend google.protobuf.FieldOptions {
  bool secret = 50001;
  string format = 50002;
}

message Card {
  string number = 1 [debug_redact = true];
  string owner = 2;
}
message Order {
  int64 id = 1;
  Card card = 2;
  repeated Card cards = 3;
  map<string, Card> by_name = 4;
  string token = 5 [(secret) = true];
  string shown = 6 [(secret) = false];
  bytes key = 7 [(secret) = true];
  repeated string words = 8 [(secret) = true];
  string formatted = 9 [(format) = "x"];
  google.protobuf.Any any = 10;
  Card hidden = 11 [debug_redact = true];
  int64 pin = 12 [debug_redact = true];
  oneof choice { Card chosen = 13; }
}
service Orders {
  rpc Get(Order) returns (Order);
  rpc Pay(Order) returns (Order) { option (psrpc.options).topics = true; }
  rpc All(Order) returns (Order) { option (psrpc.options).type = MULTI; }
  rpc Flow(Order) returns (Order) { option (psrpc.options).stream = true; }
  rpc Placed(Order) returns (Order) { option (psrpc.options) = { subscription: true type: MULTI }; }
}
`

func tapRegistry(t testing.TB) *registry.Registry {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"shop.proto": {Data: []byte(tapSource)}}, "shop.proto"))
	return reg
}

// shopMethod returns a method of shop.Orders.
func shopMethod(t testing.TB, reg *registry.Registry, name string) *registry.Method {
	t.Helper()
	service, err := reg.FindService("shop.Orders")
	require.NoError(t, err)
	method, ok := service.Method(name)
	require.True(t, ok)
	return method
}

// orderOf returns an encoded shop.Order.
func orderOf(t testing.TB, method *registry.Method, order string) []byte {
	t.Helper()
	message := dynamicpb.NewMessage(method.Input())
	require.NoError(t, protojson.UnmarshalOptions{Resolver: dynamicpb.NewTypes(nil)}.Unmarshal([]byte(order), message))
	encoded, err := proto.Marshal(message)
	require.NoError(t, err)
	return encoded
}

func TestRedactor(t *testing.T) {
	t.Parallel()
	method := shopMethod(t, tapRegistry(t), "Get")
	const card = `{"number":"4111","owner":"Ada"}`
	encoded := orderOf(t, method, `{"id":7,"card":`+card+`,"cards":[`+card+`],"byName":{"x":`+card+`},"token":"t","shown":"s",
		"key":"a2V5","words":["a","b"],"formatted":"f","hidden":`+card+`,"pin":1234,"chosen":`+card+`}`)
	const safe = `{"number":"[redacted]","owner":"Ada"}`
	for name, tt := range map[string]struct {
		options []string
		want    string
	}{
		"debug_redact": {nil, `{"id":"7","card":` + safe + `,"cards":[` + safe + `],"byName":{"x":` + safe + `},"token":"t","shown":"s",
			"key":"a2V5","words":["a","b"],"formatted":"f","chosen":` + safe + `}`},
		"named options": {[]string{"debug_redact", "shop.secret", "shop.format", "shop.unknown"},
			`{"id":"7","card":` + safe + `,"cards":[` + safe + `],"byName":{"x":` + safe + `},"token":"[redacted]","shown":"s",
			"formatted":"[redacted]","chosen":` + safe + `}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			message, err := newRedactor(tt.options).decode(method.Input(), encoded)
			require.NoError(t, err)
			got, err := protojson.Marshal(message.Interface())
			require.NoError(t, err)
			assert.JSONEq(t, tt.want, string(got))
		})
	}
}

// The redactor must remove what it cannot check for secrets: messages of unknown types, and fields
// that the descriptor does not have.
func TestRedactor_DropsTheUnknown(t *testing.T) {
	t.Parallel()
	method := shopMethod(t, tapRegistry(t), "Get")
	descriptor := method.Input()
	anyField, card := descriptor.Fields().ByName("any"), descriptor.Fields().ByName("card").Message()
	secret := dynamicpb.NewMessage(card)
	secret.Set(card.Fields().ByName("number"), stringValue("4111"))
	secret.Set(card.Fields().ByName("owner"), stringValue("Ada"))
	inner, err := proto.Marshal(secret)
	require.NoError(t, err)
	order := func(typeURL string, value []byte) []byte {
		message := dynamicpb.NewMessage(descriptor)
		boxed := message.Mutable(anyField).Message()
		boxed.Set(anyField.Message().Fields().ByName("type_url"), stringValue(typeURL))
		boxed.Set(anyField.Message().Fields().ByName("value"), bytesValue(value))
		encoded, err := proto.Marshal(message)
		require.NoError(t, err)
		return encoded
	}
	redact := func(encoded []byte) string {
		message, err := newRedactor(nil).decode(descriptor, encoded)
		require.NoError(t, err)
		safe, err := proto.MarshalOptions{Deterministic: true}.Marshal(message.Interface())
		require.NoError(t, err)
		return string(safe)
	}
	known := redact(order("type.googleapis.com/shop.Card", inner))
	assert.Contains(t, known, "[redacted]")
	assert.Contains(t, known, "Ada")
	assert.NotContains(t, known, "4111")
	for name, encoded := range map[string][]byte{
		"unknown type":  order("type.googleapis.com/shop.Unknown", inner),
		"broken value":  order("type.googleapis.com/shop.Card", []byte("\x0a\xff4111Ada")),
		"no type":       order("", inner),
		"unknown field": append([]byte("\xfa\x3e\x0b"), []byte("4111 is Ada")...),
	} {
		assert.NotContains(t, redact(encoded), "Ada", name)
	}
	_, err = newRedactor(nil).decode(descriptor, []byte("\x0a\xff"))
	require.Error(t, err)
	// The decoder of protobuf panics on a map entry whose key has two types.
	_, err = newRedactor(nil).decode(descriptor, []byte("\x22\x05\x0a\x01x\x08\x01"))
	require.Error(t, err)

	nested := order("type.googleapis.com/shop.Card", inner)
	for range maxAnyDepth {
		assert.Contains(t, redact(nested), "Ada")
		nested = order("type.googleapis.com/shop.Order", nested)
	}
	assert.NotContains(t, redact(nested), "Ada", "too deep")
}
