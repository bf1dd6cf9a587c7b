package gateway_test

import (
	"net/http"
	"strconv"
	"testing"
	"testing/fstest"

	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/grpcreflect/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Reflection must show the stream keyword. Without it, gRPC tools take a method for a unary one.
func TestReflection_MethodsHaveTheStreamKeyword(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithReflection())
	stream := grpcreflect.NewClient(f.connectClient(connecthttp.WithGRPC())).NewStream(t.Context())
	names, err := stream.ListServices()
	require.NoError(t, err)
	assert.Equal(t, []protoreflect.FullName{"shop.Shop", "grpc.health.v1.Health"}, names)
	files, err := stream.FileContainingSymbol("shop.Shop")
	require.NoError(t, err)
	require.NoError(t, stream.Close())

	r := f.do(t, http.MethodGet, "/descriptors.binpb", "")
	var set descriptorpb.FileDescriptorSet
	require.NoError(t, proto.Unmarshal([]byte(r.body), &set))
	for _, set := range []*descriptorpb.FileDescriptorSet{&set, {File: files}} {
		all, err := protodesc.NewFiles(set)
		require.NoError(t, err)
		service, err := all.FindDescriptorByName("shop.Shop")
		require.NoError(t, err)
		streams := map[protoreflect.Name][2]bool{}
		for i := range service.(protoreflect.ServiceDescriptor).Methods().Len() {
			method := service.(protoreflect.ServiceDescriptor).Methods().Get(i)
			streams[method.Name()] = [2]bool{method.IsStreamingClient(), method.IsStreamingServer()}
		}
		assert.Equal(t, map[protoreflect.Name][2]bool{
			"Get": {}, "Look": {}, "InRoom": {}, "Hidden": {}, "Everyone": {false, true}, "News": {false, true}, "Talk": {true, true},
		}, streams)
	}
}

func TestReflection_OnlyIfAskedFor(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	assert.Equal(t, http.StatusNotFound, f.do(t, http.MethodGet, "/descriptors.binpb", "").status)
	_, err := grpcreflect.NewClient(f.connectClient(connecthttp.WithGRPC())).NewStream(t.Context()).ListServices()
	assert.Error(t, err)
}

// Services on a bus come from different sources. Reflection must work even if their files have the
// same paths, or import different versions of a shared file.
func TestReflection_FilesThatDoNotFitTogether(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithReflection(), gateway.WithMethods("*/*"))
	for i, files := range []fstest.MapFS{
		{"shop.proto": {Data: []byte(`syntax = "proto3"; package first; import "common.proto";
			service Service { rpc Do(common.Text) returns (common.Text); }`)}},
		{"shop.proto": {Data: []byte(`syntax = "proto3"; package second; import "common.proto";
			service Service { rpc Do(common.Text) returns (common.Text); }`)}},
	} {
		files["common.proto"] = &fstest.MapFile{Data: []byte(`syntax = "proto3"; package common;
			message Text { string text = ` + strconv.Itoa(i+1) + `; }`)}
		other := registry.New()
		require.NoError(t, other.ParseProto(files, "shop.proto"))
		for _, service := range other.Services() {
			_, err := f.registry.Register(service.Descriptor(), registry.WithWireName(string(service.Name())))
			require.NoError(t, err)
		}
	}
	client := grpcreflect.NewClient(f.connectClient(connecthttp.WithGRPC()))
	for name, number := range map[protoreflect.FullName]protoreflect.FieldNumber{"first.Service": 1, "second.Service": 2, "shop.Shop": 0} {
		stream := client.NewStream(t.Context())
		files, err := stream.FileContainingSymbol(name)
		require.NoError(t, err)
		require.NoError(t, stream.Close())
		resolved, err := protodesc.NewFiles(&descriptorpb.FileDescriptorSet{File: files})
		require.NoError(t, err, name)
		service, err := resolved.FindDescriptorByName(name)
		require.NoError(t, err)
		if number > 0 {
			field := service.(protoreflect.ServiceDescriptor).Methods().ByName("Do").Input().Fields().ByName("text")
			assert.Equal(t, number, field.Number(), name)
		}
	}
	var set descriptorpb.FileDescriptorSet
	require.NoError(t, proto.Unmarshal([]byte(f.do(t, http.MethodGet, "/descriptors.binpb", "").body), &set))
	_, err := protodesc.NewFiles(&set)
	require.NoError(t, err)
}
