package regression

import (
	"context"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

func TestDefect10_Panics(t *testing.T) {
	t.Parallel()
	const secret = "panic of the test"
	explode := dynamic.Unary(func(context.Context, *api.MyRequest) (*api.MyResponse, error) { panic(secret) })
	claimAndExplode := dynamic.Unary(testkit.Echo, dynamic.WithAffinity(func(context.Context, *api.MyRequest) float32 { panic(secret) }))
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		testkit.Serve(t, network.Connect(t), dynamic.Handlers{
			"NormalRPC": explode, "IntensiveRPC": claimAndExplode, "GetStats": explode,
			"ExchangeUpdates": dynamic.Stream(func(dynamic.ServerStream[*api.MyServerMessage, *api.MyClientMessage]) error {
				panic(secret)
			}),
		})
		conn := testkit.Conn(t, network.Connect(t))
		requireInternal := func(err error) {
			t.Helper()
			require.Equal(t, errors.Internal, testkit.Code(err), "%v", err)
			assert.NotContains(t, err.Error(), secret)
			assert.NotContains(t, err.Error(), "goroutine")
		}
		_, err := testkit.Caller(t, conn, "NormalRPC").Call(t.Context(), &api.MyRequest{}, patient)
		requireInternal(err)
		_, err = testkit.Caller(t, conn, "IntensiveRPC").Call(t.Context(), &api.MyRequest{}, patient)
		require.Equal(t, errors.Unavailable, testkit.Code(err), "a server whose affinity function panics declines: %v", err)
		one := dynamic.WithExpectedResponses(1)
		for response := range testkit.Caller(t, conn, "GetStats").Responses(t.Context(), &api.MyRequest{}, patient, one) {
			requireInternal(response.Err)
		}
		stream, err := testkit.Streamer(t, conn).OpenStream(t.Context(), patient)
		if err == nil { // the server may close the stream before or after OpenStream returns
			testkit.Soon(t, stream.Context().Done(), "end of the stream")
			err = stream.Err()
		}
		requireInternal(err)
	})
}

func TestDefect11_WrongFrames(t *testing.T) {
	t.Parallel()
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		fleet := testkit.NewFleet(t, network)
		conn, registration := fleet.Conn, fleet.Registrations[0]
		f, name := forger{t, network.Connect(t)}, testkit.WireName
		requireWorking(t, conn)
		subscription := subscribe(t, conn, "UpdateState")
		for _, channel := range []wire.Channel{
			wire.RequestChannel(name, "NormalRPC", nil, true), wire.RequestChannel(name, "IntensiveRPC", nil, false),
			wire.RequestChannel(name, "GetStats", nil, false), wire.RequestChannel(name, "UpdateState", nil, false),
			wire.ClaimResponseChannel(name, "NormalRPC", nil), wire.ClaimResponseChannel(name, "IntensiveRPC", nil),
			wire.StreamServerChannel(name, "ExchangeUpdates", nil), wire.CancelChannel(name),
			wire.ClaimRequestChannel(name, conn.ID()), wire.ResponseChannel(name, conn.ID()),
			wire.StreamClientChannel(name, conn.ID()),
		} {
			for _, frame := range wrongFrames(t) {
				f.sendRaw(channel, frame)
			}
		}
		testkit.Eventually(t, func() bool { return conn.Stats().BadFrames > 0 }, "they are counted by the client")
		testkit.Eventually(t, func() bool { return subscription.Stats().BadFrames > 0 }, "and by the subscriber")
		requireWorking(t, conn)
		require.NoError(t, registration.Publish(t.Context(), "UpdateState", &api.MyUpdate{Id: "good"}))
		assert.Equal(t, "good", testkit.Soon(t, subscription.Channel(), "update").GetId())
		stream, err := testkit.Streamer(t, conn).OpenStream(t.Context(), patient)
		require.NoError(t, err)
		require.NoError(t, stream.Send(&api.MyClientMessage{Sequence: 1}))
		require.NoError(t, stream.Close(nil))
	})
}

// foreign is another version of the service. In its requests, the name may consist of any bytes,
// not only of valid UTF-8.
const foreign = `
syntax = "proto3";
package foreign.v1;
import "options.proto";
message Request { bytes name = 1; }
message Response {}
service MyService {
  rpc NormalRPC(Request) returns (Response);
  rpc IntensiveRPC(Request) returns (Response) { option (psrpc.options).type = AFFINITY; }
}`

func TestDefect12_UndecodableRequest(t *testing.T) {
	t.Parallel()
	known := registry.New()
	require.NoError(t, known.ParseProto(fstest.MapFS{"foreign.proto": {Data: []byte(foreign)}}, "foreign.proto"))
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		testkit.Serve(t, network.Connect(t), testkit.Echoes())
		conn, err := dynamic.NewConn(network.Connect(t), known, dynamic.WithSelectionTimeout(testkit.Patience))
		require.NoError(t, err)
		defer conn.Close()
		for _, method := range []string{"NormalRPC", "IntensiveRPC"} {
			started := time.Now()
			notText := map[string]any{"name": []byte{0xff, 0xfe}}
			_, err := dynamic.Invoke(t.Context(), conn, "foreign.v1.MyService/"+method, notText, patient)
			requireCode(t, errors.MalformedRequest, err, started)
		}
	})
}

func TestDefect19_LargeResponse(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10
	testkit.OnEachWithLimit(t, limit, func(t *testing.T, network testkit.Network) {
		large := dynamic.Unary(func(context.Context, *api.MyRequest) (*api.MyResponse, error) {
			return &api.MyResponse{Text: string(make([]byte, 2*limit))}, nil
		})
		testkit.Serve(t, network.Connect(t), dynamic.Handlers{"NormalRPC": large, "IntensiveRPC": large})
		conn := testkit.Conn(t, network.Connect(t))
		for _, method := range []string{"NormalRPC", "IntensiveRPC"} {
			started := time.Now()
			_, err := testkit.Caller(t, conn, method).Call(t.Context(), &api.MyRequest{}, patient)
			requireCode(t, errors.ResourceExhausted, err, started)
		}
	})
}
