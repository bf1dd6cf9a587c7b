package testkit

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Patience is the longest time that tests wait for an event that must happen. It is far longer than
// any event takes in a passing test.
const Patience = 20 * time.Second

// WireName is the name that identifies the service on the bus.
const WireName = "MyService"

// Method returns the full name of the service's method with the given short name.
func Method(name string) string { return "example.compiled.v1.MyService/" + name }

// Descriptor returns the descriptor of the service MyService.
func Descriptor() protoreflect.ServiceDescriptor {
	return api.File_my_service_proto.Services().ByName("MyService")
}

// Serve starts a server on b and registers the service with the given handlers. Calls to methods
// without a handler fail with the code Unimplemented. By default, the server does not log, and waits
// for the bus as long as [Patience]. The server is shut down when the test ends.
func Serve(
	tb testing.TB, b bus.Bus, handlers dynamic.Handlers, opts ...dynamic.ServerOption,
) (*dynamic.Server, *dynamic.Registration) {
	tb.Helper()
	quiet := dynamic.WithLogger(slog.New(slog.DiscardHandler))
	patient := dynamic.WithServerTimeout(Patience)
	server := dynamic.NewServer(b, append([]dynamic.ServerOption{quiet, patient}, opts...)...)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		require.NoError(tb, server.Shutdown(ctx))
	})
	registration, err := server.Register(Descriptor(), handlers, dynamic.AllowMissing())
	require.NoError(tb, err)
	return server, registration
}

// Conn returns a [dynamic.Conn] on b whose registry contains the service. The conn is closed when
// the test ends. By default, calls and their selections of a server have the timeout [Patience], so
// that they do not fail on a slow machine.
func Conn(tb testing.TB, b bus.Bus, opts ...dynamic.ConnOption) *dynamic.Conn {
	tb.Helper()
	known := registry.New()
	require.NoError(tb, known.RegisterFile(api.File_my_service_proto))
	patient := []dynamic.ConnOption{dynamic.WithClientTimeout(Patience), dynamic.WithSelectionTimeout(Patience)}
	conn, err := dynamic.NewConn(b, known, append(patient, opts...)...)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, conn.Close()) })
	return conn
}

// Caller returns a client for a method that takes a MyRequest and returns a MyResponse.
func Caller(tb testing.TB, conn *dynamic.Conn, method string) *dynamic.Client[*api.MyRequest, *api.MyResponse] {
	tb.Helper()
	return client[*api.MyRequest, *api.MyResponse](tb, conn, method)
}

// Subscriber returns a client that can subscribe to the updates of a method.
func Subscriber(tb testing.TB, conn *dynamic.Conn, method string) *dynamic.Client[*api.Ignored, *api.MyUpdate] {
	tb.Helper()
	return client[*api.Ignored, *api.MyUpdate](tb, conn, method)
}

// Streamer returns a client for the streaming method ExchangeUpdates.
func Streamer(tb testing.TB, conn *dynamic.Conn) *dynamic.Client[*api.MyClientMessage, *api.MyServerMessage] {
	tb.Helper()
	return client[*api.MyClientMessage, *api.MyServerMessage](tb, conn, "ExchangeUpdates")
}

func client[Req, Resp proto.Message](tb testing.TB, conn *dynamic.Conn, method string) *dynamic.Client[Req, Resp] {
	tb.Helper()
	c, err := dynamic.NewClient[Req, Resp](conn, Method(method))
	require.NoError(tb, err)
	return c
}

// Echoes returns handlers for all methods of the service that are calls or streams: [Echo] and
// [EchoStream].
func Echoes() dynamic.Handlers {
	handlers := dynamic.Handlers{"ExchangeUpdates": dynamic.Stream(EchoStream)}
	for _, call := range []string{"NormalRPC", "IntensiveRPC", "GetStats", "GetRegionStats", "MoveRegion", "UpdateRoom"} {
		handlers[call] = dynamic.Unary(Echo)
	}
	return handlers
}

// Echo is a handler that responds with the name in the request.
func Echo(_ context.Context, request *api.MyRequest) (*api.MyResponse, error) {
	return &api.MyResponse{Text: request.GetName()}, nil
}

// EchoStream is a stream handler that responds to each message with its sequence number.
func EchoStream(stream dynamic.ServerStream[*api.MyServerMessage, *api.MyClientMessage]) error {
	for message := range stream.Channel() {
		if err := stream.Send(&api.MyServerMessage{Acknowledged: message.GetSequence()}); err != nil {
			return err //nolint:wrapcheck // tests check the original error
		}
	}
	return stream.Err() //nolint:wrapcheck // tests check the original error
}
