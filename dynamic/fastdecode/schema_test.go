package fastdecode

import (
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// schema defines one proto2 and one proto3 message with fields of every type, and a service that
// uses them.
//
//nolint:dupword // many fields are named as their types
var schema = fstest.MapFS{
	"new.proto": {Data: []byte(`
syntax = "proto3";
package fast;
import "google/protobuf/any.proto";
import "google/protobuf/descriptor.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/wrappers.proto";
import "options.proto";
import "old.proto";

enum Color { RED = 0; GREEN = 1; BLUE = -1; }

message New {
  int32 int32 = 1; int64 int64 = 2; uint32 uint32 = 3; uint64 uint64 = 4; sint32 sint32 = 5; sint64 sint64 = 6;
  fixed32 fixed32 = 7; fixed64 fixed64 = 8; sfixed32 sfixed32 = 9; sfixed64 sfixed64 = 10;
  float float = 11; double double = 12; bool bool = 13; string string = 14; bytes bytes = 15; Color color = 16;
  New child = 17;
  optional int32 optional_int32 = 18; optional string optional_string = 19; optional Color optional_color = 20;
  repeated int32 numbers = 21; repeated sint64 zigzags = 22; repeated fixed32 fixeds = 23; repeated double doubles = 24;
  repeated bool bools = 25; repeated string strings = 26; repeated bytes blobs = 27; repeated Color colors = 28;
  repeated New children = 29; repeated int32 unpacked = 30 [packed = false];
  map<string, string> texts = 31; map<int32, New> messages = 32; map<bool, Color> by_bool = 33;
  map<sint64, double> by_zigzag = 34; map<fixed64, bytes> by_fixed = 35; map<uint32, bool> by_uint = 36;
  oneof choice { string text = 37; int64 number = 38; New message = 39; bool flag = 40; bytes blob = 41; Old legacy = 42; }
  google.protobuf.Any any = 43; google.protobuf.Struct structure = 44; google.protobuf.StringValue wrapped = 45;
  Old old = 46;
  int32 far = 536870911;
}

service Service {
  rpc Echo(New) returns (New);
  rpc EchoOld(Old) returns (Old);
  rpc Best(Old) returns (Old) { option (psrpc.options).type = AFFINITY; }
  rpc File(google.protobuf.FileDescriptorProto) returns (google.protobuf.FileDescriptorProto);
  rpc Flow(New) returns (New) { option (psrpc.options).stream = true; }
}
`)},
	"old.proto": {Data: []byte(`
syntax = "proto2";
package fast;

enum Closed { ONE = 1; TWO = 2; }

message Old {
  required int32 id = 1;
  optional string text = 2 [default = "none"]; optional Closed closed = 3 [default = TWO];
  repeated Closed closeds = 4; repeated Closed packed = 5 [packed = true]; repeated int64 numbers = 6;
  optional group Inner = 7 { optional int32 value = 8; optional Old old = 9; repeated group Deep = 10 { optional string s = 11; } }
  repeated group Many = 12 { required int32 value = 13; }
  optional bytes blob = 14 [default = "\001\377"]; map<string, Closed> by_name = 15; map<int32, Old> olds = 16;
  oneof choice { group Either = 17 { optional int32 value = 18; } Closed either_closed = 19; string either_text = 20; }
  optional double double = 21 [default = inf];
  extensions 100 to 200;
}
`)},
}

func newSchema(t testing.TB) *registry.Registry {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(schema, "new.proto"))
	return reg
}

// requestOf returns the request type of a method of the service in schema.
func requestOf(t testing.TB, method string) protoreflect.MessageDescriptor {
	t.Helper()
	found, ok := newSchema(t).Method("fast.Service/" + method)
	require.True(t, ok, method)
	return found.Input()
}

// randomMessage returns a message type with random fields: scalars, lists and messages of the same
// type.
func randomMessage(t testing.TB, g generator) protoreflect.MessageDescriptor {
	t.Helper()
	message := &descriptorpb.DescriptorProto{Name: new("Random")}
	numbers := g.Perm(1 + g.IntN(maxNumber+100))
	for i := range min(1+g.IntN(150), len(numbers)) {
		field := &descriptorpb.FieldDescriptorProto{
			Name: new(fmt.Sprint("field", i)), Number: new(int32(numbers[i] + 1)),
			Type:  descriptorpb.FieldDescriptorProto_Type(1 + g.IntN(18)).Enum(),
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
		switch field.GetType() {
		// These types need a definition of their own.
		case descriptorpb.FieldDescriptorProto_TYPE_ENUM, descriptorpb.FieldDescriptorProto_TYPE_GROUP:
			field.Type = descriptorpb.FieldDescriptorProto_TYPE_BOOL.Enum()
		case descriptorpb.FieldDescriptorProto_TYPE_MESSAGE:
			field.TypeName = new(".Random")
		}
		if g.oneIn(3) {
			field.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		}
		message.Field = append(message.Field, field)
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: new("random.proto"), Syntax: new([]string{"proto2", "proto3"}[g.IntN(2)]),
		MessageType: []*descriptorpb.DescriptorProto{message},
	}, nil)
	require.NoError(t, err)
	return file.Messages().Get(0)
}
