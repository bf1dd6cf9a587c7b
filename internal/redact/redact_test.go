package redact_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/internal/redact"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const source = `
	syntax = "proto3";
	import "google/protobuf/any.proto";
	message Card {
	  string owner = 1;
	  string number = 2 [debug_redact = true];
	  int32 pin = 3 [debug_redact = true];
	  repeated string codes = 4 [debug_redact = true];
	  map<string, string> notes = 5 [debug_redact = true];
	  Card spare = 6 [debug_redact = true];
	  Card parent = 7;
	  repeated Card cards = 8;
	  map<string, Card> by_name = 9;
	  map<string, string> labels = 10;
	  google.protobuf.Any any = 11;
	}
	service Cards { rpc Get(Card) returns (Card); }`

func TestRules(t *testing.T) {
	t.Parallel()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"card.proto": {Data: []byte(source)}}, "card.proto"))
	method, ok := reg.Method("Cards/Get")
	require.True(t, ok)
	const secret = `"owner": "Ada", "number": "4111", "pin": 7, "codes": ["x"], "notes": {"a": "x"}, "spare": {"owner": "Ada"}, "labels": {"b": "c"}`
	const safe = `"owner": "Ada", "number": "[redacted]", "labels": {"b": "c"}`
	message := dynamicpb.NewMessage(method.Input())
	require.NoError(t, protojson.Unmarshal([]byte(`{`+secret+`, "parent": {`+secret+`}, "cards": [{`+secret+`}], "byName": {"x": {`+secret+`}},
		"any": {"@type": "type.googleapis.com/google.protobuf.Empty"}}`), message))
	parent := message.Get(method.Input().Fields().ByName("parent")).Message()
	parent.SetUnknown(protoreflect.RawFields{0xa0, 0x06, 0x01})

	anys := 0
	redact.Rules{IsSecret: redact.HasDebugRedact, Any: func(message protoreflect.Message) {
		anys++
		message.Clear(message.Descriptor().Fields().ByName("type_url"))
	}}.Apply(message)
	shown, err := protojson.Marshal(message)
	require.NoError(t, err)
	assert.JSONEq(t, `{`+safe+`, "parent": {`+safe+`}, "cards": [{`+safe+`}], "byName": {"x": {`+safe+`}}, "any": {}}`, string(shown))
	assert.Empty(t, parent.GetUnknown())
	assert.Equal(t, 1, anys)
	redact.Rules{}.Apply(dynamicpb.NewMessageType(method.Input()).Zero()) // a message that is not valid is left alone
}
