package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
)

// testMetadata checks that handlers and affinity functions of every kind receive the client's
// metadata and ID.
func testMetadata(t *testing.T, network Network) {
	w := newWorld(t, network)
	server := w.server()
	seen := make(chan dynamic.RequestInfo, 10)
	note := func(ctx context.Context) {
		incoming, ok := dynamic.RequestInfoFromContext(ctx)
		if !ok {
			incoming.ClientID = "the context knows nothing"
		}
		seen <- incoming
	}
	handle := func(ctx context.Context, request *api.MyRequest) (*api.MyResponse, error) {
		note(ctx)
		return respond(request), nil
	}
	affinity := func(ctx context.Context, _ *api.MyRequest) float32 {
		note(ctx)
		return 1
	}
	handleStream := func(stream dynamic.ServerStream[*api.MyServerMessage, *api.MyClientMessage]) error {
		note(stream.Context())
		return nil
	}
	streamAffinity := func(ctx context.Context) float32 {
		note(ctx)
		return 1
	}
	handlers, streamHandlers := dynamic.Handlers{}, dynamic.Handlers{}
	for _, kind := range callKinds {
		handlers[kind], streamHandlers[kind] = dynamic.Unary(handle), dynamic.Stream(handleStream)
	}
	handlers[kindAffinity] = dynamic.Unary(handle, dynamic.WithAffinity(affinity))
	streamHandlers[kindAffinity] = dynamic.Stream(handleStream, dynamic.WithStreamAffinity(streamAffinity))
	w.serve(server, calls, handlers)
	w.serve(server, streams, streamHandlers)

	conn := w.conn(dynamic.WithClientID("CLI_" + w.suffix))
	ctx := dynamic.ContextWithMetadata(t.Context(), map[string]string{"key": "context", "Key": "ü", "empty": ""})
	option := dynamic.WithMetadata(map[string]string{"key": "option"})
	want := map[string]string{"key": "option", "Key": "ü", "empty": ""}
	check := func(t testing.TB, kind string, started time.Time) {
		t.Helper()
		times := 1
		if kind == kindAffinity {
			times = 2
		}
		for range times {
			incoming := soon(t, seen, "metadata")
			assert.Equal(t, conn.ID(), incoming.ClientID)
			assert.Equal(t, want, incoming.Metadata)
			assert.WithinRange(t, incoming.SentAt, started, time.Now())
		}
	}
	for _, kind := range callKinds {
		t.Run(kind, func(t *testing.T) {
			started := time.Now().Round(0)
			_, err := newGeneratedCall(t, conn, kind)(ctx, sample("Ada"), option)
			require.NoError(t, err)
			check(t, kind, started)
		})
	}
	for _, kind := range streamKinds {
		t.Run("stream/"+kind, func(t *testing.T) {
			started := time.Now().Round(0)
			client := newClient[*api.MyClientMessage, *api.MyServerMessage](t, conn, fullName(streams, kind), nil)
			stream, err := client.OpenStream(ctx, option)
			require.NoError(t, err)
			check(t, kind, started)
			soon(t, stream.Context().Done(), "end of the handler")
		})
	}
}
