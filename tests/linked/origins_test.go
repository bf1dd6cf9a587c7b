package linked

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/example/compiled/api/psrpcoptions"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// origins are the ways in which a method can come by psrpc options, given in text format.
var origins = map[string]func(t *testing.T, options string) *registry.Method{
	"typed":   typedMethod,
	"dynamic": dynamicMethod,
	"unknown": unknownMethod,
	"source":  sourceMethod,
}

// typedMethod has options of the generated Go type that the program links.
func typedMethod(t *testing.T, options string) *registry.Method {
	t.Helper()
	typed := new(psrpcoptions.Options)
	require.NoError(t, prototext.Unmarshal([]byte(options), typed))
	method := new(descriptorpb.MethodOptions)
	proto.SetExtension(method, psrpcoptions.E_Options, typed)
	return compiledMethod(t, method)
}

// dynamicMethod has options of a dynamic type.
func dynamicMethod(t *testing.T, options string) *registry.Method {
	t.Helper()
	extension := dynamicpb.NewExtensionType(dynamicExtension(t))
	value := extension.New()
	require.NoError(t, prototext.Unmarshal([]byte(options), value.Message().Interface()))
	method := new(descriptorpb.MethodOptions)
	method.ProtoReflect().Set(extension.TypeDescriptor(), value)
	return compiledMethod(t, method)
}

// unknownMethod has options that nobody decoded.
func unknownMethod(t *testing.T, options string) *registry.Method {
	t.Helper()
	typed := new(psrpcoptions.Options)
	require.NoError(t, prototext.Unmarshal([]byte(options), typed))
	known := new(descriptorpb.MethodOptions)
	proto.SetExtension(known, psrpcoptions.E_Options, typed)
	raw, err := proto.Marshal(known)
	require.NoError(t, err)
	method := new(descriptorpb.MethodOptions)
	method.ProtoReflect().SetUnknown(raw)
	return compiledMethod(t, method)
}

// sourceMethod has options written in a .proto file.
func sourceMethod(t *testing.T, options string) *registry.Method {
	t.Helper()
	fsys := fstest.MapFS{"s.proto": {Data: []byte(`syntax = "proto3"; package p; import "options.proto"; message M {}
		service S { rpc Call(M) returns (M) { option (psrpc.options) = { ` + options + ` }; } }`)}}
	r := registry.New()
	require.NoError(t, r.ParseProto(fsys, "s.proto"))
	m, ok := r.Method("p.S/Call")
	require.True(t, ok)
	return m
}

// compiledMethod returns a method with these options from a descriptor.
func compiledMethod(t *testing.T, options *descriptorpb.MethodOptions) *registry.Method {
	t.Helper()
	file := &descriptorpb.FileDescriptorProto{
		Name: new("s.proto"), Package: new("p"), Syntax: new("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: new("M")}},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: new("S"), Method: []*descriptorpb.MethodDescriptorProto{
			{Name: new("Call"), InputType: new(".p.M"), OutputType: new(".p.M"), Options: options},
		}}},
	}
	fd, err := protodesc.NewFile(file, nil)
	require.NoError(t, err)
	s, err := registry.NewService(fd.Services().Get(0))
	require.NoError(t, err)
	m, ok := s.Method("Call")
	require.True(t, ok)
	return m
}

// dynamicExtension is a descriptor of the psrpc options that has nothing to do with the linked one.
func dynamicExtension(t *testing.T) protoreflect.ExtensionDescriptor {
	t.Helper()
	fd, err := protodesc.NewFile(protodesc.ToFileDescriptorProto(psrpcoptions.File_options_proto), protoregistry.GlobalFiles)
	require.NoError(t, err)
	return fd.Extensions().ByName("options")
}

// TestOrigins_Differ makes sure that the origins are what they say.
func TestOrigins_Differ(t *testing.T) {
	t.Parallel()
	options := func(origin string) protoreflect.Message {
		return origins[origin](t, "stream: true").Descriptor().Options().ProtoReflect()
	}
	assert.IsType(t, (*psrpcoptions.Options)(nil), proto.GetExtension(options("typed").Interface(), psrpcoptions.E_Options))
	options("dynamic").Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		assert.IsType(t, (*dynamicpb.Message)(nil), v.Message().Interface())
		return true
	})
	assert.NotEmpty(t, options("unknown").GetUnknown())
}
