package natsmicro_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet/natsmicro"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const source = `
syntax = "proto3";
package shop;
import "options.proto";
import "google/protobuf/wrappers.proto";
service Orders {
  rpc Get(google.protobuf.StringValue) returns (google.protobuf.StringValue);
  rpc Flow(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (psrpc.options).stream = true; }
}
service Other { rpc Get(google.protobuf.StringValue) returns (google.protobuf.StringValue); }
`

// shop is a server that has a Responder. The server itself uses an in-process bus.
type shop struct {
	nats     *nats.Conn
	registry *registry.Registry
	server   *dynamic.Server
	status   *fleet.Status
	conn     *dynamic.Conn
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{registry: registry.New()}
	require.NoError(t, s.registry.ParseProto(fstest.MapFS{"shop.proto": {Data: []byte(source)}}, "shop.proto"))
	var err error
	s.nats, err = nats.Connect(testenv.NATS(t).URL())
	require.NoError(t, err)
	b := bus.NewLocal()
	s.server = dynamic.NewServer(b, dynamic.WithServerID("SRV.1"), dynamic.WithLogger(slog.New(slog.DiscardHandler)))
	s.serve(t, "shop.Orders")
	s.status, err = fleet.Serve(s.server, fleet.WithApp("shop", "v1.4.2"), fleet.WithLabels(map[string]string{"region": "eu"}))
	require.NoError(t, err)
	s.conn, err = dynamic.NewConn(b, s.registry, dynamic.WithClientTimeout(time.Minute), dynamic.WithSelectionTimeout(time.Minute))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.conn.Close())
		require.NoError(t, s.server.Shutdown(context.Background()))
		require.NoError(t, b.Close())
		s.nats.Close()
	})
	return s
}

func (s *shop) serve(t *testing.T, name string) *dynamic.Registration {
	t.Helper()
	service, err := s.registry.FindService(name)
	require.NoError(t, err)
	get := dynamic.Unary(func(_ context.Context, request *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
		if request.GetValue() == "" {
			return nil, errors.NewErrorf(errors.NotFound, "no such order")
		}
		return request, nil
	})
	registration, err := s.server.Register(service, dynamic.Handlers{"Get": get}, dynamic.AllowMissing())
	require.NoError(t, err)
	return registration
}

// ask returns the first answer to a question. It returns false if the subject has no subscribers.
func ask[T any](t *testing.T, s *shop, subject string) (*T, bool) {
	t.Helper()
	message, err := s.nats.Request(subject, nil, time.Minute)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, false
	}
	require.NoError(t, err)
	answer := new(T)
	require.NoError(t, json.Unmarshal(message.Data, answer))
	assert.NotContains(t, string(message.Data), "null")
	return answer, true
}

// awaitAnswered waits until questions on a subject are answered or, if answered is false, until the
// subject has no subscribers.
func (s *shop) awaitAnswered(t *testing.T, subject string, answered bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		// Use a short timeout, because a question that arrives while a service is being removed is
		// never answered.
		_, err := s.nats.Request(subject, nil, 100*time.Millisecond)
		return answered && err == nil || !answered && errors.Is(err, nats.ErrNoResponders)
	}, time.Minute, time.Millisecond)
}

func TestServe(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	for _, request := range []string{"7", "8", ""} {
		_, _ = dynamic.Invoke(t.Context(), s.conn, "shop.Orders/Get", wrapperspb.String(request))
	}
	responder, err := natsmicro.Serve(s.nats, s.status)
	require.NoError(t, err)

	for _, subject := range []string{"$SRV.PING", "$SRV.PING.Orders", "$SRV.PING.Orders.SRV_1"} {
		ping, ok := ask[micro.Ping](t, s, subject)
		require.True(t, ok, subject)
		assert.Equal(t, micro.PingResponseType, ping.Type)
		assert.Equal(t, "Orders", ping.Name)
		assert.Equal(t, "SRV_1", ping.ID, "a dot is not permitted in an ID")
		assert.Equal(t, "1.4.2", ping.Version)
		assert.Equal(t, "eu", ping.Metadata["region"])
		assert.Equal(t, "shop", ping.Metadata["app"])
		assert.Len(t, ping.Metadata["digest"], 32)
	}
	info, _ := ask[micro.Info](t, s, "$SRV.INFO.Orders")
	assert.Equal(t, "shop.Orders", info.Description)
	assert.ElementsMatch(t, []micro.EndpointInfo{
		{Name: "Get", Subject: "SRV.Orders.Q", QueueGroup: "bus", Metadata: map[string]string{"kind": "single", "routing": "queue"}},
		{Name: "Flow", Subject: "SRV.Orders", Metadata: map[string]string{"kind": "stream", "routing": "queue"}},
	}, info.Endpoints)

	stats, _ := ask[micro.Stats](t, s, "$SRV.STATS.Orders.SRV_1")
	for _, endpoint := range stats.Endpoints {
		if endpoint.Name == "Get" {
			assert.Equal(t, 3, endpoint.NumRequests)
			assert.Equal(t, 1, endpoint.NumErrors)
			assert.Equal(t, "not_found", endpoint.LastError)
			assert.Positive(t, endpoint.AverageProcessingTime)
			assert.Contains(t, string(endpoint.Data), `"errors":{"not_found":1}`)
		}
	}
	_, ok := ask[micro.Ping](t, s, "$SRV.PING.Other")
	assert.False(t, ok, "a service that does not exist is answered by nobody")

	other := s.serve(t, "shop.Other")
	s.awaitAnswered(t, "$SRV.PING.Other", true)
	require.NoError(t, other.Close(t.Context()))
	s.awaitAnswered(t, "$SRV.PING.Other", false)

	require.NoError(t, responder.Close())
	require.NoError(t, responder.Close())
	_, ok = ask[micro.Ping](t, s, "$SRV.PING")
	assert.False(t, ok)
}

func TestServe_EndsWithTheServer(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	responder, err := natsmicro.Serve(s.nats, s.status)
	require.NoError(t, err)
	require.NoError(t, s.status.Close())
	s.awaitAnswered(t, "$SRV.PING", false)
	require.NoError(t, responder.Close())

	_, err = natsmicro.Serve(nil, s.status)
	require.Error(t, err)
	s.nats.Close()
	_, err = natsmicro.Serve(s.nats, s.status)
	require.Error(t, err)
}
