package wasm

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

var benchText = wrapperspb.String(strings.Repeat("x", 62)) // the encoded message has 64 bytes

// BenchmarkCall measures a typed call of 64 bytes over the in-process bus, with the client and the
// server in one process.
func BenchmarkCall(b *testing.B) {
	call := func(b *testing.B, e *engine, method string) {
		client := e.client(b, method)
		for b.Loop() {
			if _, err := client.Call(b.Context(), benchText); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("native", func(b *testing.B) {
		e := newEngine(b)
		service, _ := e.registry.Service("test.Bytes")
		echo := func(_ context.Context, request textMessage) (textMessage, error) { return request, nil }
		_, err := e.server.Register(service, dynamic.Handlers{"Echo": dynamic.Unary(echo)})
		require.NoError(b, err)
		call(b, e, "test.Bytes/Echo")
	})
	b.Run("native-bytes", func(b *testing.B) {
		e := newEngine(b)
		service, _ := e.registry.Service("test.Bytes")
		echo := func(_ context.Context, _ *registry.Method, request []byte) ([]byte, error) { return request, nil }
		_, err := e.server.Register(service, dynamic.Handlers{"Echo": dynamic.Raw(echo)})
		require.NoError(b, err)
		call(b, e, "test.Bytes/Echo")
	})
	b.Run("wasm-bytes", func(b *testing.B) {
		e := newEngine(b)
		e.serve(b, echoGuest(b), "test.Bytes")
		call(b, e, "test.Bytes/Echo")
	})
	b.Run("wasm-proto", func(b *testing.B) {
		e := newEngine(b)
		e.serve(b, protoGuest(b), "test.Proto")
		call(b, e, "test.Proto/Echo")
	})
}

// BenchmarkGuest measures calls to a WebAssembly module without a client, a server or a bus. The
// hand-written module shows the cost of the loader itself.
func BenchmarkGuest(b *testing.B) {
	byHand := echoModule()
	byHand.pages = 3 // memory for the longer requests
	for name, content := range map[string][]byte{"by-hand": byHand.encode(), "go": echoGuest(b)} {
		for _, size := range []int{64, 64 << 10} {
			b.Run(name+"/"+map[int]string{64: "64B", 64 << 10: "64KiB"}[size], func(b *testing.B) {
				code := load(b, content, echoService, plugin.Limits{})
				ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
				defer cancel()
				method, request := code.method("Echo"), make([]byte, size)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := code.serve(ctx, method, 0, request); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkStart measures how long it takes to start an instance.
func BenchmarkStart(b *testing.B) {
	for name, content := range map[string][]byte{"by-hand": echoModule().encode(), "go": echoGuest(b)} {
		b.Run(name, func(b *testing.B) {
			code := load(b, content, echoService, plugin.Limits{})
			for b.Loop() {
				in, err := code.newInstance(b.Context())
				require.NoError(b, err)
				in.close()
			}
		})
	}
}
