package registry

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"
)

const editionSource = `edition = "2023"; package ed;
message Required { string s = 1 [features.field_presence = LEGACY_REQUIRED]; }
message Deep { Required inner = 1; repeated Required more = 2; map<string, Required> by = 3; }
message Text { string s = 1; repeated string all = 2; map<string, string> by = 3; oneof o { string choice = 4; } extensions 100; }
extend Text { string more = 100; }
message Loose { string s = 1 [features.utf8_validation = NONE]; }
message Delimited { Text t = 1 [features.message_encoding = DELIMITED]; }
message Implicit { int32 n = 1 [features.field_presence = IMPLICIT]; }
message Expanded { repeated int32 n = 1 [features.repeated_field_encoding = EXPANDED]; repeated int32 packed = 2; }
enum Closed { option features.enum_type = CLOSED; ONE = 1; }
message Enums { Closed e = 1; }
service S { rpc A(Required) returns (Deep); rpc B(Text) returns (Loose); rpc C(Delimited) returns (Implicit); rpc D(Expanded) returns (Enums); }`

// bothForms loads a file as a source and as a descriptor set. It returns both descriptors, keyed by
// the name of the method that loaded them.
func bothForms(t *testing.T, source string) map[string]protoreflect.FileDescriptor {
	t.Helper()
	forms := map[string]protoreflect.FileDescriptor{}
	for _, label := range []string{"ParseProto", "RegisterDescriptorSet"} {
		r := New()
		require.NoError(t, loaders[label](t, r, source), label)
		forms[label] = r.Services()[0].Descriptor().ParentFile()
	}
	return forms
}

func TestEditions_SourcesBehaveAsDescriptorSets(t *testing.T) {
	t.Parallel()
	for label, file := range bothForms(t, editionSource) {
		create := func(name protoreflect.Name, text string) *dynamicpb.Message {
			m := dynamicpb.NewMessage(file.Messages().ByName(name))
			require.NoError(t, protojson.UnmarshalOptions{AllowPartial: true}.Unmarshal([]byte(text), m), "%s: %s", label, name)
			return m
		}
		for text, name := range map[string]protoreflect.Name{
			`{}`: "Required", `{"inner": {}}`: "Deep", `{"more": [{}]}`: "Deep", `{"by": {"x": {}}}`: "Deep",
		} {
			m := create(name, text)
			_, err := proto.Marshal(m)
			require.ErrorContains(t, err, "required", "%s: %s", label, text)
			partial, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m)
			require.NoError(t, err)
			require.ErrorContains(t, proto.Unmarshal(partial, m), "required", "%s: %s", label, text)
		}
		for _, encoded := range [][]byte{
			{1<<3 | 2, 1, 0xff}, {2<<3 | 2, 1, 0xff}, {3<<3 | 2, 3, 1<<3 | 2, 1, 0xff}, {3<<3 | 2, 3, 2<<3 | 2, 1, 0xff}, {4<<3 | 2, 1, 0xff},
		} {
			require.ErrorContains(t, proto.Unmarshal(encoded, create("Text", "{}")), "UTF-8", "%s: %x", label, encoded)
		}
		require.NoError(t, proto.Unmarshal([]byte{1<<3 | 2, 1, 0xff}, create("Loose", "{}")), label)

		for text, test := range map[string]struct {
			name protoreflect.Name
			want []byte
		}{
			`{"t": {"s": "x"}}`:              {"Delimited", []byte{1<<3 | 3, 1<<3 | 2, 1, 'x', 1<<3 | 4}},
			`{"n": 0}`:                       {"Implicit", nil},
			`{"n": [1, 2], "packed": [1,2]}`: {"Expanded", []byte{1 << 3, 1, 1 << 3, 2, 2<<3 | 2, 2, 1, 2}},
		} {
			encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(create(test.name, text))
			require.NoError(t, err)
			assert.Equal(t, string(test.want), string(encoded), "%s: %s", label, test.name)
		}
		closed := create("Enums", "{}")
		require.NoError(t, proto.Unmarshal([]byte{1 << 3, 7}, closed))
		assert.True(t, closed.Descriptor().Fields().Get(0).Enum().IsClosed(), label)
	}
}

func TestEditions_FieldsAreTheSameFromSourcesAndSets(t *testing.T) {
	t.Parallel()
	for _, source := range []string{
		editionSource,
		`syntax = "proto2"; package p2; message M { required string r = 1; optional group G = 2 { required int32 n = 1; } repeated int32 l = 3 [packed = true];
			optional string d = 4 [default = "x"]; oneof o { string a = 5; } map<string, M> m = 6; extensions 100; } extend M { optional M x = 100; }
			enum E { A = 0; B = -1; } service S { rpc C(M) returns (M); }`,
		`syntax = "proto3"; package p3; message M { string s = 1; optional string o = 2; repeated int32 l = 3; map<int32, string> m = 4; oneof x { M a = 5; bytes b = 6; } }
			enum E { A = 0; } service S { rpc C(M) returns (M); }`,
	} {
		forms := bothForms(t, source)
		parsed, fromSet := forms["ParseProto"], forms["RegisterDescriptorSet"]
		for i := range parsed.Messages().Len() {
			assert.True(t, make(schemaComparison).message(parsed.Messages().Get(i), fromSet.Messages().Get(i)), parsed.Messages().Get(i).FullName())
			assert.Equal(t, fromSet.Messages().Get(i).RequiredNumbers().Len(), parsed.Messages().Get(i).RequiredNumbers().Len())
		}
		for i := range parsed.Enums().Len() {
			assert.Equal(t, fromSet.Enums().Get(i).IsClosed(), parsed.Enums().Get(i).IsClosed())
		}
	}
}

func TestParseProto_SourcesThatOnlyTheParserAccepts(t *testing.T) {
	t.Parallel()
	for _, source := range []string{
		`syntax = "proto2"; package a; message M { option message_set_wire_format = true; extensions 4 to max; } service S { rpc C(M) returns (M); }`,
		`syntax = "proto2"; package a; enum E { ONE = 1; } message M { map<string, E> m = 1; } service S { rpc C(M) returns (M); }`,
	} {
		assert.NoError(t, New().ParseProto(protos("a.proto", source), "a.proto"))
	}
}

func TestParseProto_KeepsTheLinkedDescriptorsOfProtobufsFiles(t *testing.T) {
	t.Parallel()
	r := New()
	require.NoError(t, r.ParseProto(protos("a.proto", `syntax = "proto3"; import "google/protobuf/duration.proto";
		service S { rpc C(google.protobuf.Duration) returns (google.protobuf.Duration); }`), "a.proto"))
	m, _ := r.Method("S/C")
	assert.Same(t, (&durationpb.Duration{}).ProtoReflect().Descriptor(), m.Input())
}
