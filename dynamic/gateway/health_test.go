package gateway_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
)

func TestGateway_Health(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	assert.Equal(t, "ok\n", f.do(t, http.MethodGet, "/healthz", "").body)
	assert.Equal(t, http.StatusOK, f.do(t, http.MethodGet, "/readyz", "").status)
	r := f.post(t, "/grpc.health.v1.Health/Check", `{"service": "shop.Shop"}`)
	assert.JSONEq(t, `{"status": "SERVING"}`, r.body)
}

// The health client of grpc-go must understand the responses.
func TestHealth_GRPC(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	client := healthpb.NewHealthClient(f.grpcConn(t))
	for _, service := range []string{"", "shop.Shop"} {
		response, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		require.NoError(t, err)
		assert.Equal(t, healthpb.HealthCheckResponse_SERVING, response.GetStatus())
	}
	_, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "shop.Nope"})
	assert.Equal(t, codes.NotFound, status.Code(err))

	ctx, cancel := context.WithCancel(t.Context())
	watch, err := client.Watch(ctx, &healthpb.HealthCheckRequest{Service: "shop.Shop"})
	require.NoError(t, err)
	response, err := watch.Recv()
	require.NoError(t, err)
	assert.Equal(t, healthpb.HealthCheckResponse_SERVING, response.GetStatus())
	require.True(t, f.registry.Remove("shop.Shop"))
	response, err = watch.Recv()
	require.NoError(t, err)
	assert.Equal(t, healthpb.HealthCheckResponse_SERVICE_UNKNOWN, response.GetStatus())
	cancel()
	_, err = watch.Recv()
	assert.Equal(t, codes.Canceled, status.Code(err))
}

// monitoredBus is a bus that reports whether its broker can be reached, as the test decides.
type monitoredBus struct {
	bus.Bus

	connected atomic.Bool
}

func (b *monitoredBus) Stats() bus.Stats { return bus.Stats{Connected: b.connected.Load()} }

func TestHealth_BusIsNotConnected(t *testing.T) {
	t.Parallel()
	monitored := &monitoredBus{Bus: bus.NewLocal()}
	reg := parse(t, source)
	conn, err := dynamic.NewConn(monitored, reg, patient)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	f := &fixture{}
	f.listen(t, conn, reg, gateway.WithMethods("*/*"))
	for connected, want := range map[bool]struct {
		readiness int
		health    string
	}{true: {200, "SERVING"}, false: {503, "NOT_SERVING"}} {
		monitored.connected.Store(connected)
		assert.Equal(t, want.readiness, f.do(t, http.MethodGet, "/readyz", "").status)
		assert.Equal(t, http.StatusOK, f.do(t, http.MethodGet, "/healthz", "").status)
		body := f.post(t, "/grpc.health.v1.Health/Check", `{}`).body
		assert.JSONEq(t, `{"status": "`+want.health+`"}`, body)
	}
}

// The streams of health checks must count toward the limit of streams.
func TestHealth_WatchCountsAsAStream(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithMaxStreams(0, 1))
	watch, err := healthpb.NewHealthClient(f.grpcConn(t)).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	_, err = watch.Recv()
	require.NoError(t, err)
	r := f.post(t, "/shop.Shop/Everyone", `{}`, "Accept: text/event-stream")
	assert.Equal(t, http.StatusTooManyRequests, r.status)
	assert.Contains(t, f.post(t, "/grpc.health.v1.Health/Check", `{}`).body, "SERVING")
}
