package registry

import (
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// It must be possible to load a tree of .proto files with one call. The tree has three roots,
// two versions of a package, and both gRPC services and services for the bus.
func TestImportRoots_Tree(t *testing.T) {
	t.Parallel()
	const proto3 = `syntax = "proto3"; import "options.proto"; import "common/id.proto"; `
	worker := func(version string) string {
		return proto3 + `package media.` + version + `; message Job { common.Id id = 1; string of_` + version + ` = 2; }
			service Worker { rpc Encode(Job) returns (Job) { option (psrpc.options).type = AFFINITY; } }
			service Admin` + version + ` { rpc Watch(Job) returns (stream Job); }`
	}
	own := fstest.MapFS{
		"media/v1/worker.proto": {Data: []byte(worker("v1"))},
		"media/v2/worker.proto": {Data: []byte(worker("v2"))},
	}
	shared := fstest.MapFS{"common/id.proto": {Data: []byte(
		`syntax = "proto3"; package common; import "third/label.proto"; message Id { string id = 1 [(third.label) = "id"]; }`)}}
	third := fstest.MapFS{"third/label.proto": {Data: []byte(
		`syntax = "proto3"; package third; import "google/protobuf/descriptor.proto";
		 extend google.protobuf.FieldOptions { string label = 50001; }`)}}

	r := New(WithWireNames(map[string]string{"media.v2.Worker": "WorkerV2"}))
	require.NoError(t, r.ParseProto(ImportRoots(own, shared, third), "media/v1/worker.proto", "media/v2/worker.proto"))
	assert.Equal(t, "[media.v1.Worker media.v2.Worker]", fmt.Sprint(r.Services()))
	assert.Equal(t, []string{"media.v1.Adminv1", "media.v2.Adminv2"}, r.GRPCServices())
	for version, wireName := range map[string]string{"v1": "Worker", "v2": "WorkerV2"} {
		method, err := r.FindMethod("media." + version + ".Worker/Encode")
		require.NoError(t, err)
		assert.Equal(t, wireName, method.Service().WireName())
		assert.EqualValues(t, "of_"+version, method.Input().Fields().ByNumber(2).Name())
	}
}
