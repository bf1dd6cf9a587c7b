package registry

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// A Registry must be usable as a resolver for protojson, prototext and anypb.
var _ interface {
	protoregistry.MessageTypeResolver
	protoregistry.ExtensionTypeResolver
} = (*Registry)(nil)

func resolvingRegistry(t *testing.T) *Registry {
	t.Helper()
	r := New()
	require.NoError(t, r.ParseProto(protos(
		"a.proto", `syntax = "proto2"; package a; import "b.proto"; import "google/protobuf/any.proto";
			message Req { optional google.protobuf.Any any = 1; message Nested { extend b.Base { optional int32 deep = 101; } } }
			extend b.Base { optional string note = 100; }
			service S { rpc Call(Req) returns (b.Base); }`,
		"b.proto", `syntax = "proto2"; package b; import "c.proto"; message Base { optional c.Far far = 1; extensions 100 to 199; }`,
		"c.proto", `syntax = "proto2"; package c; message Far { optional int32 n = 1; } enum E { ZERO = 0; }`,
	), "a.proto"))
	return r
}

func TestRegistry_FindMessage(t *testing.T) {
	t.Parallel()
	r := resolvingRegistry(t)
	for _, name := range []protoreflect.FullName{"a.Req", "a.Req.Nested", "b.Base", "c.Far", "google.protobuf.Any", "google.protobuf.Duration"} {
		mt, err := r.FindMessageByName(name)
		require.NoError(t, err, name)
		assert.Equal(t, name, mt.Descriptor().FullName())
		byURL, err := r.FindMessageByURL("type.googleapis.com/some/" + string(name))
		require.NoError(t, err, name)
		assert.Equal(t, name, byURL.Descriptor().FullName())
		_, err = r.FindMessageByURL(string(name))
		require.NoError(t, err, "no slash is fine")
	}
	for _, name := range []protoreflect.FullName{"", "a", "a.S", "c.E", "a.note", "a.Gone"} {
		_, err := r.FindMessageByName(name)
		assert.Equal(t, protoregistry.NotFound, err, name)
		_, err = r.FindMessageByURL("/" + string(name))
		assert.Equal(t, protoregistry.NotFound, err, name)
	}
}

func TestRegistry_FindMessagePrefersLinkedType(t *testing.T) {
	t.Parallel()
	r := New()
	require.NoError(t, r.ParseProto(protos("a.proto", `syntax = "proto3"; import "google/protobuf/duration.proto";
		service S { rpc Call(google.protobuf.Duration) returns (google.protobuf.Duration); }`), "a.proto"))
	mt, err := r.FindMessageByName("google.protobuf.Duration")
	require.NoError(t, err)
	assert.IsType(t, (*durationpb.Duration)(nil), mt.New().Interface())
}

func TestRegistry_FindExtension(t *testing.T) {
	t.Parallel()
	r := resolvingRegistry(t)
	for number, name := range map[protoreflect.FieldNumber]protoreflect.FullName{100: "a.note", 101: "a.Req.Nested.deep"} {
		xt, err := r.FindExtensionByName(name)
		require.NoError(t, err)
		assert.Equal(t, number, xt.TypeDescriptor().Number())
		xt, err = r.FindExtensionByNumber("b.Base", number)
		require.NoError(t, err)
		assert.Equal(t, name, xt.TypeDescriptor().FullName())
	}
	_, err := r.FindExtensionByNumber("b.Base", 102)
	assert.Equal(t, protoregistry.NotFound, err)
	_, err = r.FindExtensionByName("a.Req")
	assert.Equal(t, protoregistry.NotFound, err)
	linked, err := r.FindExtensionByName("pb.go")
	require.NoError(t, err)
	byNumber, err := r.FindExtensionByNumber(linked.TypeDescriptor().ContainingMessage().FullName(), linked.TypeDescriptor().Number())
	require.NoError(t, err)
	assert.Equal(t, linked, byNumber)
}

func TestRegistry_ResolvesJSON(t *testing.T) {
	t.Parallel()
	r := resolvingRegistry(t)
	m, ok := r.Method("a.S/Call")
	require.True(t, ok)
	const text = `{"any":{"@type":"type.googleapis.com/b.Base","far":{"n":7},"[a.note]":"hello"}}`
	req := dynamicpb.NewMessage(m.Input())
	require.NoError(t, protojson.UnmarshalOptions{Resolver: r}.Unmarshal([]byte(text), req))
	got, err := protojson.MarshalOptions{Resolver: r}.Marshal(req)
	require.NoError(t, err)
	assert.JSONEq(t, text, string(got))

	raw, err := proto.Marshal(req.Get(m.Input().Fields().ByName("any")).Message().Interface())
	require.NoError(t, err)
	box := new(anypb.Any)
	require.NoError(t, proto.Unmarshal(raw, box))
	inner, err := anypb.UnmarshalNew(box, proto.UnmarshalOptions{Resolver: r})
	require.NoError(t, err)
	assert.EqualValues(t, "b.Base", inner.ProtoReflect().Descriptor().FullName())
	assert.Empty(t, inner.ProtoReflect().GetUnknown(), "the extension is known")
}

func TestRegistry_RemoveForgetsTypes(t *testing.T) {
	t.Parallel()
	r := resolvingRegistry(t)
	require.True(t, r.Remove("a.S"))
	for _, name := range []protoreflect.FullName{"a.Req", "b.Base", "c.Far"} {
		_, err := r.FindMessageByName(name)
		assert.Equal(t, protoregistry.NotFound, err)
	}
	_, err := r.FindExtensionByNumber("b.Base", 100)
	assert.Equal(t, protoregistry.NotFound, err)
	assert.Empty(t, r.types.refs)
	r.types.declared.Range(func(key, _ any) bool {
		assert.Fail(t, "left behind", "%v", key)
		return true
	})
}

func TestRegistry_TypesOfOneNameFromTwoFiles(t *testing.T) {
	t.Parallel()
	r := New()
	for _, service := range []string{"A", "B"} {
		require.NoError(t, r.ParseProto(protos(
			"s.proto", `syntax = "proto3"; import "shared.proto"; service `+service+` { rpc Call(Shared) returns (Shared); }`,
			"shared.proto", `syntax = "proto3"; message Shared { int32 of_`+service+` = 1; }`,
		), "s.proto"))
	}
	field := func() protoreflect.Name {
		mt, err := r.FindMessageByName("Shared")
		require.NoError(t, err)
		return mt.Descriptor().Fields().Get(0).Name()
	}
	assert.EqualValues(t, "of_A", field(), "the oldest counts")
	require.True(t, r.Remove("A"))
	assert.EqualValues(t, "of_B", field())
	require.True(t, r.Remove("B"))
	_, err := r.FindMessageByName("Shared")
	assert.Error(t, err)
}
