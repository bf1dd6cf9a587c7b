package call

import (
	"context"
	"log/slog"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const source = `
syntax = "proto3";
package test;
import "options.proto";
import "google/protobuf/wrappers.proto";
service Echoes {
  rpc Queue(google.protobuf.StringValue) returns (google.protobuf.StringValue);
  rpc Best(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).type = AFFINITY;
  }
  rpc All(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).type = MULTI;
  }
  rpc Flow(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).stream = true;
  }
}
`

// newMethod returns a method of the service that source declares.
func newMethod(t testing.TB, name string) *registry.Method {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"test.proto": {Data: []byte(source)}}, "test.proto"))
	method, ok := reg.Method("test.Echoes/" + name)
	require.True(t, ok)
	return method
}

// client is an engine on a bus of its own, with the plan and the route of one method.
type client struct {
	*Engine

	bus   *bus.Local
	plan  Plan
	route Route
}

// defaultTimeout is the timeout of calls without one. It is long, so that calls succeed on a busy
// machine too.
const defaultTimeout = 30 * time.Second

func newConfig(b bus.Bus) Config {
	return Config{
		Bus: b, ClientID: "CLI_a", DefaultTimeout: defaultTimeout, SelectionTimeout: time.Second,
		ShortCircuitTimeout: 200 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		Keepalive: time.Minute, DecompressionMemory: 1 << 20,
	}
}

func newClient(t testing.TB, method string) *client {
	t.Helper()
	b := bus.NewLocal()
	c := &client{Engine: New(newConfig(b)), bus: b}
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	var err error
	c.plan, err = c.NewPlan(t.Context(), newMethod(t, method))
	require.NoError(t, err)
	c.route = c.plan.NewRoute(nil)
	c.plan.Discover(&c.route)
	return c
}

// frame is any message of the wire protocol.
type frame interface {
	AppendFrame(dst []byte) ([]byte, error)
}

// send publishes a message on a channel.
func (c *client) send(t testing.TB, channel wire.Channel, message frame) {
	t.Helper()
	encoded, err := message.AppendFrame(nil)
	require.NoError(t, err)
	require.NoError(t, c.bus.Publish(context.Background(), bus.Channel(channel), encoded, nil))
}

// respond sends the response of a server to a request.
func (c *client) respond(t testing.TB, request wire.Request, server, body string) {
	t.Helper()
	c.send(t, wire.ResponseChannel("Echoes", "CLI_a"), &wire.Response{
		RequestID: request.RequestID, ServerID: []byte(server), Body: wire.Body{Raw: []byte(body)},
	})
}

// claim sends the claim of a server for a request. The server declines if affinity is negative.
func (c *client) claim(t testing.TB, requestID []byte, server string, affinity float32) {
	t.Helper()
	c.send(t, wire.ClaimRequestChannel("Echoes", "CLI_a"), &wire.ClaimRequest{
		RequestID: requestID, ServerID: []byte(server), Affinity: affinity, Declined: affinity < 0,
	})
}

// listen calls the function handle with each message that arrives on a channel, until the test
// ends.
func listen[M any](t testing.TB, c *client, channel bus.Channel, parse func([]byte) (M, error), handle func(M)) {
	t.Helper()
	subscription, err := c.bus.Subscribe(t.Context(), channel, bus.Broadcast, func(frame []byte) {
		envelope, err := wire.ParseEnvelope(frame)
		assert.NoError(t, err)
		message, err := parse(envelope.Value)
		assert.NoError(t, err)
		handle(message)
	})
	require.NoError(t, err)
	t.Cleanup(subscription.Close)
}

// serve calls the function handle with each request, until the test ends.
func (c *client) serve(t testing.TB, handle func(request wire.Request)) {
	t.Helper()
	listen(t, c, c.route.Requests, wire.ParseRequest, handle)
}

// onGrant calls the function handle with the server that each grant names, until the test ends.
func (c *client) onGrant(t testing.TB, handle func(server string)) {
	t.Helper()
	listen(t, c, c.route.grants, wire.ParseClaimResponse, func(grant wire.ClaimResponse) { handle(string(grant.ServerID)) })
}
