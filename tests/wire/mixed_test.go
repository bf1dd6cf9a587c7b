package wire_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// mixedSource is a service that both kinds of peers serve and call. A test has either calls or
// updates on a queue: psrpc loses frames on NATS if not all members of a service's queue are
// members for all its methods.
const mixedSource = `syntax = "proto3"; package mixed;
import "google/protobuf/wrappers.proto"; import "options.proto";
service Mixed {
	rpc Work(google.protobuf.StringValue) returns (google.protobuf.StringValue);
	rpc Best(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (psrpc.options).type = AFFINITY; }
	rpc Each(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (psrpc.options).type = MULTI; }
	rpc Talk(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (psrpc.options).stream = true; }
	rpc Jobs(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (psrpc.options).subscription = true; }
}`

// value is the type of all messages of the mixed service.
type value = *wrapperspb.StringValue

// mixed is one test's service, on one broker, with peers of both kinds.
type mixed struct {
	*testing.T

	broker   broker
	name     string
	registry *registry.Registry
}

func newMixed(t *testing.T, b broker) *mixed {
	t.Helper()
	parsed := registry.New()
	require.NoError(t, parsed.ParseProto(fstest.MapFS{"mixed.proto": {Data: []byte(mixedSource)}}, "mixed.proto"))
	service, ok := parsed.Service("mixed.Mixed")
	require.True(t, ok)
	m := &mixed{T: t, broker: b, name: serviceName("Mixed"), registry: registry.New()}
	_, err := m.registry.Register(service.Descriptor(), registry.WithWireName(m.name))
	require.NoError(t, err)
	return m
}

// Methods of the service, as the reference peer knows them.

func (m *mixed) work() method { return method{target: m.target("Work", true), claim: true} }
func (m *mixed) best() method {
	return method{target: m.target("Best", false), claim: true, affinity: true}
}
func (m *mixed) each() method { return method{target: m.target("Each", false), multi: true} }
func (m *mixed) talk() method { return method{target: m.target("Talk", true), claim: true} }
func (m *mixed) jobs() method { return method{target: m.target("Jobs", true)} }

func (m *mixed) target(name string, queue bool) target {
	return target{service: m.name, method: name, queue: queue}
}

// serve starts a server of ours on a connection of its own, and ends it with the test.
func (m *mixed) serve(handlers dynamic.Handlers) *dynamic.Registration {
	m.Helper()
	s := dynamic.NewServer(m.broker.bus(m.T), dynamic.WithLogger(slog.New(slog.DiscardHandler)))
	service, ok := m.registry.Service("mixed.Mixed")
	require.True(m, ok)
	registration, err := s.Register(service, handlers, dynamic.AllowMissing())
	require.NoError(m, err)
	m.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(m, s.Shutdown(ctx))
	})
	return registration
}

// handle makes a handler of ours of one that the reference peer takes.
func handle(h handler) dynamic.Handler {
	return dynamic.Unary(func(_ context.Context, request value) (value, error) {
		response, err := h(request.GetValue())
		if err != nil {
			return nil, err
		}
		return wrapperspb.String(response), nil
	})
}

// conn returns a conn of ours on a connection of its own, and closes it with the test.
func (m *mixed) conn(options ...dynamic.ConnOption) *dynamic.Conn {
	m.Helper()
	options = append(options, dynamic.WithClientTimeout(patience), dynamic.WithSelectionTimeout(patience))
	conn, err := dynamic.NewConn(m.broker.bus(m.T), m.registry, options...)
	require.NoError(m, err)
	m.Cleanup(func() { assert.NoError(m, conn.Close()) })
	return conn
}

// client returns a client of ours of a method, on a connection of its own.
func (m *mixed) client(name string) *dynamic.Client[value, value] {
	m.Helper()
	return m.clientOn(m.conn(), name)
}

func (m *mixed) clientOn(conn *dynamic.Conn, name string) *dynamic.Client[value, value] {
	m.Helper()
	c, err := dynamic.NewClient[value, value](conn, "mixed.Mixed/"+name)
	require.NoError(m, err)
	return c
}

// peerServer returns a reference server on a connection of its own.
func (m *mixed) peerServer() *peerServer { return newPeerServer(m.broker.link(m.T), newID("SRV_")) }

// peerClient returns a reference client on a connection of its own.
func (m *mixed) peerClient() *peerClient {
	return newPeerClient(m.broker.link(m.T), m.name, newID("CLI_"))
}

// echo answers with the name of the server and the request.
func echo(name string) handler {
	return func(request string) (string, *failure) { return name + " " + request, nil }
}
