package conformance_test

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

// mixedSource defines a service that psrpc peers and dynpsrpc peers both serve and call. No test
// uses both its calls and its updates. On NATS, all methods of a psrpc service share one queue
// group, so some frames would reach peers that cannot handle them.
const mixedSource = `syntax = "proto3"; package mixed;
import "google/protobuf/wrappers.proto"; import "options.proto";
service Mixed {
	rpc Work(google.protobuf.StringValue) returns (google.protobuf.StringValue);
	rpc Best(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (psrpc.options).type = AFFINITY; }
	rpc Each(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (psrpc.options).type = MULTI; }
	rpc Talk(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (psrpc.options).stream = true; }
	rpc Jobs(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (psrpc.options).subscription = true; }
}`

// value is the message type of all methods of the service Mixed.
type value = *wrapperspb.StringValue

// mixed is a service for one test, on one broker. It can have peers of both libraries.
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

// The following functions describe the methods of the service for the reference peer.

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

// serve starts a dynpsrpc server on its own connection. The server is shut down when the test ends.
func (m *mixed) serve(handlers dynamic.Handlers) *dynamic.Registration {
	m.Helper()
	s := dynamic.NewServer(m.broker.bus(m.T), dynamic.WithLogger(slog.New(slog.DiscardHandler)),
		dynamic.WithServerTimeout(patience))
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

// handle converts a handler of the reference peer to a handler of package dynamic.
func handle(h handler) dynamic.Handler {
	return dynamic.Unary(func(_ context.Context, request value) (value, error) {
		response, err := h(request.GetValue())
		if err != nil {
			return nil, err
		}
		return wrapperspb.String(response), nil
	})
}

// conn returns a [dynamic.Conn] on its own connection. It is closed when the test ends.
func (m *mixed) conn(options ...dynamic.ConnOption) *dynamic.Conn {
	m.Helper()
	options = append(options, dynamic.WithClientTimeout(patience), dynamic.WithSelectionTimeout(patience))
	conn, err := dynamic.NewConn(m.broker.bus(m.T), m.registry, options...)
	require.NoError(m, err)
	m.Cleanup(func() { assert.NoError(m, conn.Close()) })
	return conn
}

// client returns a dynpsrpc client for a method, on its own connection.
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

// peerServer returns a server of the reference peer, on its own connection.
func (m *mixed) peerServer() *peerServer { return newPeerServer(m.broker.link(m.T), newID("SRV_")) }

// peerClient returns a client of the reference peer, on its own connection.
func (m *mixed) peerClient() *peerClient {
	return newPeerClient(m.broker.link(m.T), m.name, newID("CLI_"))
}

// echo returns a handler that responds with name and the text of the request.
func echo(name string) handler {
	return func(request string) (string, *failure) { return name + " " + request, nil }
}
