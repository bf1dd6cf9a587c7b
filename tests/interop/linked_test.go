//go:build !psrpc_oldest

package interop

import (
	"testing"

	psrpcoptions "github.com/livekit/psrpc/protoc-gen-psrpc/options"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// A program may link both psrpc's package for the options and code that was generated for dynpsrpc.
// If both registered options.proto with protobuf, the program would panic at its start.
func TestLinked_BesidePsrpc(t *testing.T) {
	t.Parallel()
	method := api.File_my_service_proto.Services().ByName("MyService").Methods().ByName("IntensiveRPC")
	options, ok := proto.GetExtension(method.Options(), psrpcoptions.E_Options).(*psrpcoptions.Options)
	require.True(t, ok)
	assert.Equal(t, psrpcoptions.Routing_AFFINITY, options.GetType(), "psrpc's package reads the options")

	reg, err := registry.NewLinked()
	require.NoError(t, err)
	loaded, ok := reg.Method("example.compiled.v1.MyService/IntensiveRPC")
	require.True(t, ok)
	assert.Equal(t, registry.RoutingAffinity, loaded.Routing())
}
