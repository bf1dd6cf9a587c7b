package plugin_test

import (
	"context"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// benchLoader loads plugins that serve one service.
type benchLoader struct {
	service plugin.Service
	counts  bool
}

func (benchLoader) Name() string { return "test" }

func (l benchLoader) Load(context.Context, *plugin.Source, func(error)) (plugin.Instance, error) {
	if l.counts {
		return benchCounter{benchInstance{l.service}}, nil
	}
	return benchInstance{l.service}, nil
}

type benchInstance struct{ service plugin.Service }

func (c benchInstance) Services() []plugin.Service { return []plugin.Service{c.service} }

func (benchInstance) Close(context.Context) error { return nil }

type benchCounter struct{ benchInstance }

func (benchCounter) Counts() (handled, failed uint64) { return 0, 0 }

// BenchmarkCall measures calls to a plugin whose requests are counted by the host, and to a plugin
// that counts its own requests. It uses typed and raw handlers.
func BenchmarkCall(b *testing.B) {
	handlers := map[string]dynamic.Handler{
		"unary": dynamic.Unary(func(_ context.Context, request text) (text, error) { return request, nil }),
		"raw": dynamic.Raw(func(_ context.Context, _ *registry.Method, request []byte) ([]byte, error) {
			return request, nil
		}),
	}
	for _, kind := range []string{"unary", "raw"} {
		for name, counts := range map[string]bool{"counted-by-the-host": false, "counts-itself": true} {
			b.Run(kind+"/"+name, func(b *testing.B) { benchmarkCall(b, handlers[kind], counts) })
		}
	}
}

func benchmarkCall(b *testing.B, handler dynamic.Handler, counts bool) {
	b.Helper()
	reg := registry.New()
	require.NoError(b, reg.ParseProto(fstest.MapFS{"greeting.proto": {Data: []byte(proto)}}, "greeting.proto"))
	service, _ := reg.Service(greeter)
	local := bus.NewLocal()
	server := dynamic.NewServer(local)
	host, err := plugin.NewHost(server, plugin.WithEvents(func(plugin.Event) {}), plugin.WithLoaders(benchLoader{
		plugin.Service{Descriptor: service.Descriptor(), Handlers: dynamic.Handlers{"Hello": handler}}, counts,
	}))
	require.NoError(b, err)
	folder := b.TempDir()
	writePlugin(b, folder, "v 1", named("greeter"))
	require.NoError(b, host.Load(b.Context(), folder))
	conn, err := dynamic.NewConn(local, reg)
	require.NoError(b, err)
	client, err := dynamic.NewClient[text, text](conn, hello)
	require.NoError(b, err)
	request := wrapperspb.String("Ada")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Call(b.Context(), request); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, conn.Close())
	host.Close()
	require.NoError(b, server.Shutdown(context.Background()))
	require.NoError(b, local.Close())
}
