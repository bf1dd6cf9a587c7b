package dynamic_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source declares the services that most tests use. For the method Echo, the bus selects one of the
// servers. Direct has a single server, which needs no claim. For Best, the client selects one of
// the servers that claim the request. The service Kinds has one method of every other kind.
const source = `
syntax = "proto3";
package test;
import "options.proto";
import "google/protobuf/any.proto";
import "google/protobuf/wrappers.proto";

message Request { string name = 1; int32 times = 2; }
message Response { repeated string lines = 1; }

service Echoes {
  rpc Echo(google.protobuf.StringValue) returns (google.protobuf.StringValue);
  rpc Direct(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).topic_params.single_server = true;
  }
  rpc Repeat(Request) returns (Response);
  rpc Best(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).type = AFFINITY;
  }
  rpc Box(google.protobuf.Any) returns (google.protobuf.Any);
}

service Kinds {
  rpc All(Request) returns (Response) { option (psrpc.options).type = MULTI; }
  rpc Flow(Request) returns (Response) { option (psrpc.options).stream = true; }
  rpc Feed(Request) returns (Response) { option (psrpc.options).subscription = true; }
}

service Updates {
  rpc Changed(Request) returns (Response) { option (psrpc.options).subscription = true; }
}
`

const (
	echo   = "test.Echoes/Echo"
	direct = "test.Echoes/Direct"
	repeat = "test.Echoes/Repeat"
	best   = "test.Echoes/Best"
	box    = "test.Echoes/Box"
)

type text = *wrapperspb.StringValue

// patientConn sets long timeouts, like patient. Calls must not time out if the machine is so busy
// that the test makes no progress for seconds.
var patientConn = dynamic.ConnOptions(patient...)

// patientServer is a long timeout for servers, which must not time out either.
var patientServer = dynamic.WithServerTimeout(time.Minute)

// parsedFiles maps the name and the source of each .proto file that parsedFile has parsed to its
// descriptor.
var parsedFiles sync.Map // of [2]string to protoreflect.FileDescriptor

// parsedFile returns the descriptor of a .proto file that declares services. Parsing is the most
// expensive part of many tests, so each source is parsed only once.
func parsedFile(t testing.TB, name, source string) protoreflect.FileDescriptor {
	t.Helper()
	key := [2]string{name, source}
	if file, ok := parsedFiles.Load(key); ok {
		return file.(protoreflect.FileDescriptor)
	}
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{name: {Data: []byte(source)}}, name))
	file := reg.Services()[0].Descriptor().ParentFile()
	parsedFiles.Store(key, file)
	return file
}

// newRegistry returns a registry of its own for each call, so that a test may change its registry.
func newRegistry(t testing.TB, sources ...string) *registry.Registry {
	t.Helper()
	reg := registry.New()
	for i, source := range append([]string{source}, sources...) {
		require.NoError(t, reg.RegisterFile(parsedFile(t, fmt.Sprintf("test%d.proto", i), source)))
	}
	return reg
}

func descriptor(t testing.TB, reg *registry.Registry, service string) protoreflect.ServiceDescriptor {
	t.Helper()
	s, ok := reg.Service(service)
	require.True(t, ok, service)
	return s.Descriptor()
}

// world is a bus with one server and one conn, and the services that both know.
type world struct {
	bus      bus.Bus
	registry *registry.Registry
	server   *dynamic.Server
	conn     *dynamic.Conn
}

func newWorld(t testing.TB, opts ...bus.LocalOption) *world {
	t.Helper()
	return newWorldOn(t, bus.NewLocal(opts...))
}

// newWorldOn returns a world on the bus b. The calls of its conn have long timeouts. newWorldOn
// closes the bus when the test ends.
func newWorldOn(t testing.TB, b bus.Bus, opts ...dynamic.ServerOption) *world {
	t.Helper()
	w := &world{bus: b, registry: newRegistry(t)}
	w.server = dynamic.NewServer(b, append([]dynamic.ServerOption{dynamic.WithServerID("SRV_test")}, opts...)...)
	var err error
	w.conn, err = dynamic.NewConn(w.bus, w.registry, patientConn, dynamic.WithClientID("CLI_test"))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, w.conn.Close())
		require.NoError(t, w.server.Shutdown(context.Background()))
		require.NoError(t, w.bus.Close())
	})
	return w
}

// useDefaultTimeouts replaces the conn by one whose calls have the default timeouts.
func (w *world) useDefaultTimeouts(t testing.TB) {
	t.Helper()
	require.NoError(t, w.conn.Close())
	var err error
	w.conn, err = dynamic.NewConn(w.bus, w.registry, dynamic.WithClientID("CLI_test"))
	require.NoError(t, err)
}

// serve registers handlers for test.Echoes. Methods without a handler return the error code
// unimplemented.
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

// call calls a method whose request and response are strings.
func (w *world) call(t testing.TB, name, request string, opts ...dynamic.RequestOption) (string, error) {
	t.Helper()
	response, err := textClient(t, w.conn, name).Call(t.Context(), wrapperspb.String(request), opts...)
	return response.GetValue(), err
}

// requireWorking checks that calls of Echo and Direct still succeed.
func (w *world) requireWorking(t testing.TB) {
	t.Helper()
	for _, name := range []string{echo, direct} {
		response, err := w.call(t, name, "still here")
		require.NoError(t, err)
		require.Equal(t, "still here", response)
	}
}

// requireCode checks the code of err and returns err as an errors.Error.
func requireCode(t testing.TB, code errors.ErrorCode, err error) errors.Error {
	t.Helper()
	require.Error(t, err)
	coded, ok := errors.AsType[errors.Error](err)
	require.True(t, ok, "%T: %v", err, err)
	require.Equal(t, code, coded.Code(), err)
	return coded
}

// requireFacts checks the reason in the call facts of err and returns the facts.
func requireFacts(t testing.TB, reason errors.Reason, err error) errors.CallFacts {
	t.Helper()
	facts, ok := errors.FactsOf(err)
	require.True(t, ok, err)
	require.Equal(t, reason, facts.Reason, err)
	return facts
}

// requireSoon waits for a value that must arrive at once. The limit is long, because the machine
// may be slow.
func requireSoon[T any](t testing.TB, signal <-chan T, what string) T {
	t.Helper()
	select {
	case value := <-signal:
		return value
	case <-time.After(10 * time.Second):
		require.FailNow(t, "did not come in time: "+what)
		panic("unreachable")
	}
}

// blocker provides handlers that block until the test releases them. They report when they have
// started.
type blocker struct{ started, release chan struct{} }

func newBlocker() blocker {
	return blocker{started: make(chan struct{}, 1000), release: make(chan struct{})}
}

// handle blocks until the test releases it, even if its context ends.
func (b blocker) handle(_ context.Context, request text) (text, error) {
	b.started <- struct{}{}
	<-b.release
	return request, nil
}

// handleUntilEnd blocks until the test releases it or its context ends.
func (b blocker) handleUntilEnd(ctx context.Context, request text) (text, error) {
	b.started <- struct{}{}
	select {
	case <-b.release:
		return request, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
