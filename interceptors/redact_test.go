package interceptors

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

const secretSource = `
	syntax = "proto2";
	package redact;
	import "google/protobuf/any.proto";
	message Login {
	  optional string user = 1;
	  optional string password = 2 [debug_redact = true];
	  optional bytes key = 3 [debug_redact = true];
	  required int32 pin = 4 [debug_redact = true];
	  repeated string answers = 5 [debug_redact = true];
	  optional Login parent = 6;
	  repeated Login children = 7;
	  map<string, Login> friends = 8;
	  map<string, string> tokens = 9 [debug_redact = true];
	  map<string, string> labels = 10;
	  optional Login hidden = 11 [debug_redact = true];
	  optional google.protobuf.Any any = 12;
	}
	service Logins { rpc Enter(Login) returns (Login); }`

func login(t testing.TB, fromJSON string) proto.Message {
	t.Helper()
	message := dynamicpb.NewMessage(loginType(t))
	require.NoError(t, protojson.UnmarshalOptions{AllowPartial: true}.Unmarshal([]byte(fromJSON), message))
	return message
}

func loginType(t testing.TB) protoreflect.MessageDescriptor {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"login.proto": {Data: []byte(secretSource)}}, "login.proto"))
	method, ok := reg.Method("redact.Logins/Enter")
	require.True(t, ok)
	return method.Input()
}

func TestRedactedJSON(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, given, want string }{
		{"nothing", `{}`, `{}`},
		{
			"fields", `{"user": "ada", "password": "x", "key": "eA==", "pin": 7, "answers": ["x"], "tokens": {"x": "x"}, "labels": {"a": "b"}}`,
			`{"user": "ada", "password": "[redacted]", "labels": {"a": "b"}}`,
		},
		{
			"nested", `{"parent": {"parent": {"password": "x", "user": "eve"}}, "children": [{"pin": 1, "password": "x"}, {"user": "bob"}],
				"friends": {"a": {"key": "eA==", "user": "c"}}, "hidden": {"user": "x"}}`,
			`{"parent": {"parent": {"password": "[redacted]", "user": "eve"}}, "children": [{"password": "[redacted]"}, {"user": "bob"}],
				"friends": {"a": {"user": "c"}}}`,
		},
		{
			"any", `{"any": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "seen"}}`,
			`{"any": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "seen"}}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			given := login(t, tt.given)
			before := proto.Clone(given)
			shown := redactedJSON(given)
			assert.JSONEq(t, tt.want, shown)
			assert.True(t, proto.Equal(before, given), "the message itself is not changed")
		})
	}
}

// TestRedactedJSON_UnknownAny checks that the content of an Any is redacted if its type is unknown.
func TestRedactedJSON_UnknownAny(t *testing.T) {
	t.Parallel()
	held, err := anypb.New(login(t, `{"pin": 7, "password": "x", "user": "ada"}`))
	require.NoError(t, err)
	want := `{"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "[redacted] type.googleapis.com/redact.Login"}`
	assert.JSONEq(t, want, redactedJSON(held))
	inner, err := anypb.New(held)
	require.NoError(t, err)
	assert.JSONEq(t, `{"@type": "type.googleapis.com/google.protobuf.Any", "value": `+want+`}`, redactedJSON(inner), "one in another")
	assert.JSONEq(t, `{}`, redactedJSON(&anypb.Any{}))
	bad := &anypb.Any{TypeUrl: "type.googleapis.com/google.protobuf.StringValue", Value: []byte("\xff")}
	assert.JSONEq(t, `{"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "[redacted] type.googleapis.com/google.protobuf.StringValue"}`,
		redactedJSON(bad))
}

func TestRedactedJSON_UnknownFields(t *testing.T) {
	t.Parallel()
	message := wrapperspb.String("seen")
	message.ProtoReflect().SetUnknown(protoreflect.RawFields{0xa0, 0x06, 0x01})
	assert.Equal(t, `"seen"`, redactedJSON(message))
	assert.Contains(t, redactedJSON(wrapperspb.String("\xff")), "cannot be encoded: ")
	assert.Equal(t, "{}", redactedJSON((*anypb.Any)(nil)))
}
