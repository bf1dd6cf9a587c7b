package gateway_test

import (
	"net/http"
	"testing"

	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/grpcreflect/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
)

// Reflection must show the stream keyword, because gRPC tools recognize methods that are not unary
// only by this keyword.
func TestReflection_MethodsHaveTheStreamKeyword(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithReflection())
	stream := grpcreflect.NewClient(f.connectClient(connecthttp.WithGRPC())).NewStream(t.Context())
	names, err := stream.ListServices()
	require.NoError(t, err)
	assert.Equal(t, []protoreflect.FullName{"shop.Shop"}, names)
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
