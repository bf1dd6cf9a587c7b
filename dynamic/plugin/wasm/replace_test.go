package wasm

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// versionSource is the .proto source of plugins that return their version.
const versionSource = `
	syntax = "proto3";
	package test;
	import "google/protobuf/wrappers.proto";
	service Bytes { rpc Echo(google.protobuf.StringValue) returns (google.protobuf.StringValue); }
`

// writeVersion creates the folder of a plugin that answers each request with its version.
func writeVersion(t testing.TB, version string) (folder string) {
	t.Helper()
	answer, err := proto.Marshal(wrapperspb.String(version))
	require.NoError(t, err)
	module := echoModule()
	place := int64(listAddress + len(module.list))
	module.list += string(answer)
	module.with(exportCall, i64Const(place<<32|int64(len(answer)))...)
	manifest, err := json.Marshal(plugin.Manifest{
		Name: "versions", Version: version, Loader: Name, Code: "code.wasm", Descriptors: "versions.proto",
	})
	require.NoError(t, err)
	folder = t.TempDir()
	for name, content := range map[string][]byte{
		plugin.ManifestName: manifest, "code.wasm": module.encode(), "versions.proto": []byte(versionSource),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), content, 0o600))
	}
	return folder
}

// TestHost_ReplacesWithoutLosingACall replaces a plugin several times while clients call it. All
// calls must succeed, and no caller may see an older version again.
func TestHost_ReplacesWithoutLosingACall(t *testing.T) {
	t.Parallel()
	const others, calls, replacements = 7, 1000, 20
	loader, _ := newTestLoader(t)
	b, reg := bus.NewLocal(), registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"versions.proto": {Data: []byte(versionSource)}}, "versions.proto"))
	server := dynamic.NewServer(b)
	defer server.Kill()
	host, err := plugin.NewHost(server, plugin.WithLoaders(loader))
	require.NoError(t, err)
	defer func() { require.NoError(t, host.Shutdown(context.Background())) }()
	require.NoError(t, host.Load(t.Context(), writeVersion(t, "100")))
	conn, err := dynamic.NewConn(b, reg, dynamic.WithClientTimeout(time.Minute), dynamic.WithSelectionTimeout(time.Minute))
	require.NoError(t, err)
	defer conn.Close()
	call := func() (version string, err error) {
		response, err := dynamic.Invoke(t.Context(), conn, "test.Bytes/Echo", wrapperspb.String("?"))
		if err != nil {
			return "", err
		}
		return response.(*wrapperspb.StringValue).GetValue(), nil
	}

	var done atomic.Bool
	var calling sync.WaitGroup
	defer calling.Wait()
	defer done.Store(true)
	for range others {
		calling.Go(func() {
			last := ""
			for !done.Load() {
				version, err := call()
				if !assert.NoError(t, err) || !assert.GreaterOrEqual(t, version, last, "an older version answered") {
					return
				}
				last = version
			}
		})
	}
	for i := range replacements {
		want := fmt.Sprint(101 + i)
		require.NoError(t, host.Load(t.Context(), writeVersion(t, want)))
		for range calls / replacements {
			version, err := call()
			require.NoError(t, err)
			require.Equal(t, want, version)
		}
	}
	assert.Equal(t, 1+replacements, host.List()[0].Generation)
}
