package scene

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

// Patience is the timeout for events that must happen. It is far longer than any passing test
// needs.
const Patience = 20 * time.Second

// WireName is the name of the service on the bus.
const WireName = "MyService"

// Method returns the full name of a method of the service.
func Method(name string) string { return "example.compiled.v1.MyService/" + name }

// Descriptor returns the descriptor of the service.
func Descriptor() protoreflect.ServiceDescriptor {
	return api.File_my_service_proto.Services().ByName("MyService")
}

// Serve returns a server on b with the service registered. Methods without a handler return
// unimplemented. The server does not log.
func Serve(
	tb testing.TB, b bus.Bus, handlers dynamic.Handlers, opts ...dynamic.ServerOption,
) (*dynamic.Server, *dynamic.Registration) {
	tb.Helper()
	quiet := dynamic.WithLogger(slog.New(slog.DiscardHandler))
	server := dynamic.NewServer(b, append([]dynamic.ServerOption{quiet}, opts...)...)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		require.NoError(tb, server.Shutdown(ctx))
	})
	registration, err := server.Register(Descriptor(), handlers, dynamic.AllowMissing())
	require.NoError(tb, err)
	return server, registration
}

// Conn returns a client's conn on b whose registry has the service.
func Conn(tb testing.TB, b bus.Bus, opts ...dynamic.ConnOption) *dynamic.Conn {
	tb.Helper()
	known := registry.New()
	require.NoError(tb, known.RegisterFile(api.File_my_service_proto))
	conn, err := dynamic.NewConn(b, known, opts...)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, conn.Close()) })
	return conn
}

// Caller returns a client of a method with calls.
func Caller(tb testing.TB, conn *dynamic.Conn, method string) *dynamic.Client[*api.MyRequest, *api.MyResponse] {
	tb.Helper()
	return client[*api.MyRequest, *api.MyResponse](tb, conn, method)
}

// Subscriber returns a client of a method with updates.
func Subscriber(tb testing.TB, conn *dynamic.Conn, method string) *dynamic.Client[*api.Ignored, *api.MyUpdate] {
	tb.Helper()
	return client[*api.Ignored, *api.MyUpdate](tb, conn, method)
}

// Streamer returns a client of the method with streams.
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

// Echo responds with the name in the request.
func Echo(_ context.Context, request *api.MyRequest) (*api.MyResponse, error) {
	return &api.MyResponse{Text: request.GetName()}, nil
}

// EchoStream acknowledges the sequence number of each message.
func EchoStream(stream dynamic.ServerStream[*api.MyServerMessage, *api.MyClientMessage]) error {
	for message := range stream.Channel() {
		if err := stream.Send(&api.MyServerMessage{Acknowledged: message.GetSequence()}); err != nil {
			return err //nolint:wrapcheck // as it is
		}
	}
	return stream.Err() //nolint:wrapcheck // as it is
}
