package registration

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

	"github.com/dynpsrpc/dynpsrpc/registry"
	"github.com/dynpsrpc/dynpsrpc/tests/registration/typedoptions"
)

// origins contains functions that return a method with the given psrpc options. The options are in
// protobuf text format. Each function stores them in another form.
var origins = map[string]func(t *testing.T, options string) *registry.Method{
	"typed":   typedMethod,
	"dynamic": dynamicMethod,
	"unknown": unknownMethod,
	"source":  sourceMethod,
}

// typedMethod returns a method whose options have the generated Go type that is linked into the
// program.
func typedMethod(t *testing.T, options string) *registry.Method {
	t.Helper()
	typed := new(typedoptions.Options)
	require.NoError(t, prototext.Unmarshal([]byte(options), typed))
	method := new(descriptorpb.MethodOptions)
	proto.SetExtension(method, typedoptions.E_Options, typed)
	return compiledMethod(t, method)
}

// dynamicMethod returns a method whose options have a dynamic type.
func dynamicMethod(t *testing.T, options string) *registry.Method {
	t.Helper()
	extension := dynamicpb.NewExtensionType(dynamicExtension(t))
	value := extension.New()
	require.NoError(t, prototext.Unmarshal([]byte(options), value.Message().Interface()))
	method := new(descriptorpb.MethodOptions)
	method.ProtoReflect().Set(extension.TypeDescriptor(), value)
	return compiledMethod(t, method)
}

// unknownMethod returns a method whose options are stored as unknown fields, because they have not
// been decoded.
func unknownMethod(t *testing.T, options string) *registry.Method {
	t.Helper()
	typed := new(typedoptions.Options)
	require.NoError(t, prototext.Unmarshal([]byte(options), typed))
	known := new(descriptorpb.MethodOptions)
	proto.SetExtension(known, typedoptions.E_Options, typed)
	raw, err := proto.Marshal(known)
	require.NoError(t, err)
	method := new(descriptorpb.MethodOptions)
	method.ProtoReflect().SetUnknown(raw)
	return compiledMethod(t, method)
}

// sourceMethod returns a method whose options are defined in a .proto source.
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

// compiledMethod returns a method that is defined by a descriptor with the given options.
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

// dynamicExtension returns a descriptor of the psrpc options that is different from the linked
// descriptor.
func dynamicExtension(t *testing.T) protoreflect.ExtensionDescriptor {
	t.Helper()
	fd, err := protodesc.NewFile(protodesc.ToFileDescriptorProto(typedoptions.File_options_proto), protoregistry.GlobalFiles)
	require.NoError(t, err)
	return fd.Extensions().ByName("options")
}

// TestOrigins_Differ checks that the functions in origins really store the options in different
// forms.
func TestOrigins_Differ(t *testing.T) {
	t.Parallel()
	options := func(origin string) protoreflect.Message {
		return origins[origin](t, "stream: true").Descriptor().Options().ProtoReflect()
	}
	assert.IsType(t, (*typedoptions.Options)(nil), proto.GetExtension(options("typed").Interface(), typedoptions.E_Options))
	options("dynamic").Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		assert.IsType(t, (*dynamicpb.Message)(nil), v.Message().Interface())
		return true
	})
	assert.NotEmpty(t, options("unknown").GetUnknown())
}
