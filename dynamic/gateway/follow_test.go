package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/grpcreflect/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// echoLoader loads plugins whose methods return their requests.
type echoLoader struct{}

func (echoLoader) Name() string { return "echo" }

func (echoLoader) Load(_ context.Context, source *plugin.Source, _ func(error)) (plugin.Instance, error) {
	return echoInstance{source}, nil
}

type echoInstance struct{ source *plugin.Source }

func (i echoInstance) Services() []plugin.Service {
	handlers := dynamic.Handlers{}
	service := i.source.Services[0]
	for _, method := range service.Methods() {
		handlers[method.Name()] = dynamic.Unary(func(_ context.Context, request item) (item, error) { return request, nil })
	}
	return []plugin.Service{{Descriptor: service.Descriptor(), Handlers: handlers}}
}

func (echoInstance) Close(context.Context) error { return nil }

// newPluginHost starts a server that serves plugins and answers queries of a fleet.
func newPluginHost(t *testing.T, b bus.Bus, id string) *plugin.Host {
	t.Helper()
	server := dynamic.NewServer(b, dynamic.WithServerID(id))
	_, err := fleet.Serve(server)
	require.NoError(t, err)
	host, err := plugin.NewHost(server, plugin.WithLoaders(echoLoader{}))
	require.NoError(t, err)
	t.Cleanup(func() {
		host.Close()
		require.NoError(t, server.Shutdown(context.Background()))
	})
	return host
}

// writePlugin writes a version of a plugin. It has the method Get and a method that only this
// version has.
func writePlugin(t *testing.T, folder string, version int) {
	t.Helper()
	manifest, err := json.Marshal(plugin.Manifest{Name: "shop", Loader: "echo", Code: "code", Descriptors: "shop.proto"})
	require.NoError(t, err)
	for name, content := range map[string]string{
		plugin.ManifestName: string(manifest), "code": fmt.Sprint(version),
		"shop.proto": fmt.Sprintf(`syntax = "proto3"; package shop; message Item { string name = 1; }
			service Shop { rpc Get(Item) returns (Item); rpc Get%d(Item) returns (Item); }`, version),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600))
	}
}

// shows reports whether calls, OpenAPI and gRPC's reflection know a method of the shop.
func (f *fixture) shows(t *testing.T, method string) (called, described, reflected bool) {
	t.Helper()
	called = f.post(t, "/shop.Shop/"+method, `{}`).status == http.StatusOK
	described = strings.Contains(f.do(t, http.MethodGet, "/openapi.json", "").body, `"/shop.Shop/`+method+`"`)
	stream := grpcreflect.NewClient(f.connectClient(connecthttp.WithGRPC())).NewStream(t.Context())
	_, err := stream.FileContainingSymbol(protoreflect.FullName("shop.Shop." + method))
	_ = stream.Close()
	return called, described, err == nil
}

// No HTTP call to a plugin may fail while servers load, replace and unload the plugin.
func TestGateway_FollowsPluginsWithoutAFailedCall(t *testing.T) {
	t.Parallel()
	f := &fixture{bus: bus.NewLocal()}
	hosts := []*plugin.Host{newPluginHost(t, f.bus, "SRV_one"), newPluginHost(t, f.bus, "SRV_two")}
	reg := registry.New()
	conn, err := dynamic.NewConn(f.bus, reg, patient)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	asking, err := fleet.New(conn)
	require.NoError(t, err)
	follower, err := asking.Follow(t.Context(), reg, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, follower.Close()) })
	f.listen(t, conn, reg, gateway.WithMethods("shop.*/*"), gateway.WithOpenAPI(), gateway.WithReflection())

	folder := t.TempDir()
	load := func(version int) {
		writePlugin(t, folder, version)
		for _, host := range hosts {
			require.NoError(t, host.Load(t.Context(), folder))
		}
		requireAll := func() bool {
			called, described, reflected := f.shows(t, fmt.Sprintf("Get%d", version))
			return called && described && reflected
		}
		require.Eventually(t, requireAll, patience, 5*time.Millisecond)
	}
	load(0)
	stop := make(chan struct{})
	var calls, failed atomic.Int32
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				calls.Add(1)
				if r := f.post(t, "/shop.Shop/Get", `{"name": "tea"}`); r.status != http.StatusOK {
					failed.Add(1)
					t.Log(r.status, r.body)
				}
			}
		})
	}
	for version := 1; version <= 3; version++ {
		load(version)
		called, described, reflected := f.shows(t, fmt.Sprintf("Get%d", version-1))
		assert.False(t, called || described || reflected, "the method of the previous version")
	}
	for _, host := range hosts { // at any time, at least one of them serves the plugin
		require.NoError(t, host.Unload(t.Context(), "shop"))
		require.NoError(t, host.Load(t.Context(), folder))
	}
	close(stop)
	callers.Wait()
	assert.Zero(t, failed.Load(), "of %d calls", calls.Load())
	assert.Positive(t, calls.Load())

	for _, host := range hosts {
		require.NoError(t, host.Unload(t.Context(), "shop"))
	}
	require.Eventually(t, func() bool {
		called, described, reflected := f.shows(t, "Get")
		return !called && !described && !reflected
	}, patience, 5*time.Millisecond)
	assert.Equal(t, http.StatusNotFound, f.post(t, "/shop.Shop/Get", `{}`).status)
}
