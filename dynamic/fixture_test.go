package dynamic_test

import (
	"context"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is the service that most tests use: Echo is the default kind of call, Direct one without a claim.
const source = `
syntax = "proto3";
package test;
import "options.proto";
import "google/protobuf/wrappers.proto";

message Request { string name = 1; int32 times = 2; }
message Response { repeated string lines = 1; }

service Echoes {
  rpc Echo(google.protobuf.StringValue) returns (google.protobuf.StringValue);
  rpc Direct(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).topic_params.single_server = true;
  }
  rpc Repeat(Request) returns (Response);
}

service Updates {
  rpc Changed(Request) returns (Response) { option (psrpc.options).subscription = true; }
}
`

const (
	echo   = "test.Echoes/Echo"
	direct = "test.Echoes/Direct"
	repeat = "test.Echoes/Repeat"
)

type text = *wrapperspb.StringValue

func newRegistry(t testing.TB, sources ...string) *registry.Registry {
	t.Helper()
	reg := registry.New()
	for _, source := range append([]string{source}, sources...) {
		files := fstest.MapFS{"test.proto": {Data: []byte(source)}}
		require.NoError(t, reg.ParseProto(files, "test.proto"))
	}
	return reg
}

func descriptor(t testing.TB, reg *registry.Registry, service string) protoreflect.ServiceDescriptor {
	t.Helper()
	s, ok := reg.Service(service)
	require.True(t, ok, service)
	return s.Descriptor()
}

// world is a bus with one server and one conn.
type world struct {
	bus      bus.Bus
	registry *registry.Registry
	server   *dynamic.Server
	conn     *dynamic.Conn
}

func newWorld(t testing.TB, opts ...bus.LocalOption) *world {
	t.Helper()
	w := &world{bus: bus.NewLocal(opts...), registry: newRegistry(t)}
	w.server = dynamic.NewServer(w.bus, dynamic.WithServerID("SRV_test"))
	var err error
	w.conn, err = dynamic.NewConn(w.bus, w.registry, dynamic.WithClientID("CLI_test"))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, w.conn.Close())
		require.NoError(t, w.server.Shutdown(context.Background()))
		require.NoError(t, w.bus.Close())
	})
	return w
}

// serve registers the handlers of test.Echoes; the other methods answer unimplemented.
func (w *world) serve(t testing.TB, handlers dynamic.Handlers) *dynamic.Registration {
	t.Helper()
	registration, err := w.server.Register(descriptor(t, w.registry, "test.Echoes"), handlers, dynamic.AllowMissing())
	require.NoError(t, err)
	return registration
}

func echoHandler(_ context.Context, request text) (text, error) { return request, nil }

func textClient(t testing.TB, conn *dynamic.Conn, name string) *dynamic.Client[text, text] {
	t.Helper()
	client, err := dynamic.NewClient[text, text](conn, name)
	require.NoError(t, err)
	return client
}
