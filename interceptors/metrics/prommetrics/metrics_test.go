package prommetrics_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics/prommetrics"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit/kinds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// monitored is a bus whose statistics are chosen by the test.
type monitored struct {
	bus.Bus

	stats bus.Stats
}

func (m monitored) Stats() bus.Stats { return m.stats }

func newMetrics(t testing.TB, opts ...prommetrics.Option) (*prommetrics.Metrics, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	observer, err := prommetrics.New(registry, opts...)
	require.NoError(t, err)
	return observer, registry
}

// requirePage requires that the given metrics, in Prometheus' text format, are equal to want.
func requirePage(t testing.TB, registry *prometheus.Registry, want string, names ...string) {
	t.Helper()
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(want), names...))
}

func TestMetrics_Page(t *testing.T) {
	t.Parallel()
	m, registry := newMetrics(t, prommetrics.WithBuckets("rpc.client.response.size", 2, 4, 8))
	w := kinds.New(t, metrics.New(m), metrics.New(m, metrics.WithTopics()))
	_, err := w.Call(t.Context(), kinds.Region, "hi", dynamic.WithTopic("eu"))
	require.NoError(t, err)
	_, err = w.CallEvery(t.Context(), "fail")
	require.NoError(t, err)
	requirePage(t, registry, `
# HELP dynpsrpc_client_active_calls Outgoing calls and streams in progress.
# TYPE dynpsrpc_client_active_calls gauge
dynpsrpc_client_active_calls{dynpsrpc_topic="",rpc_method="kinds.All/Every",rpc_system_name="psrpc"} 0
dynpsrpc_client_active_calls{dynpsrpc_topic="eu",rpc_method="kinds.All/Region",rpc_system_name="psrpc"} 0
# HELP dynpsrpc_client_multi_responses_total Responses to multi calls, including errors.
# TYPE dynpsrpc_client_multi_responses_total counter
dynpsrpc_client_multi_responses_total{dynpsrpc_topic="",error_type="not_found",rpc_method="kinds.All/Every",rpc_response_status_code="not_found",rpc_system_name="psrpc"} 1
# HELP rpc_client_response_size_bytes Measures the size of RPC response messages (uncompressed).
# TYPE rpc_client_response_size_bytes histogram
rpc_client_response_size_bytes_bucket{dynpsrpc_topic="eu",rpc_method="kinds.All/Region",rpc_system_name="psrpc",le="2"} 0
rpc_client_response_size_bytes_bucket{dynpsrpc_topic="eu",rpc_method="kinds.All/Region",rpc_system_name="psrpc",le="4"} 1
rpc_client_response_size_bytes_bucket{dynpsrpc_topic="eu",rpc_method="kinds.All/Region",rpc_system_name="psrpc",le="8"} 1
rpc_client_response_size_bytes_bucket{dynpsrpc_topic="eu",rpc_method="kinds.All/Region",rpc_system_name="psrpc",le="+Inf"} 1
rpc_client_response_size_bytes_sum{dynpsrpc_topic="eu",rpc_method="kinds.All/Region",rpc_system_name="psrpc"} 4
rpc_client_response_size_bytes_count{dynpsrpc_topic="eu",rpc_method="kinds.All/Region",rpc_system_name="psrpc"} 1
`, "dynpsrpc_client_active_calls", "dynpsrpc_client_multi_responses_total", "rpc_client_response_size_bytes")
	count, err := testutil.GatherAndCount(registry, "rpc_server_call_duration_seconds")
	require.NoError(t, err)
	assert.Equal(t, 2, count)

	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	assert.Equal(t, []promlint.Problem(nil), problems)
}

func TestMetrics_Watch(t *testing.T) {
	t.Parallel()
	m, registry := newMetrics(t)
	b := bus.NewLocal()
	defer b.Close()
	stop := m.Watch(
		metrics.BusSource("one", monitored{b, bus.Stats{Connected: true, Disconnects: 2, Dropped: 3, DroppedBy: map[string]uint64{"OOM": 2}}}),
		metrics.BusSource("two", monitored{b, bus.Stats{Dropped: 4}}),
	)
	const help = `
# HELP dynpsrpc_bus_dropped_total Frames lost between the broker and this process.
# TYPE dynpsrpc_bus_dropped_total counter
`
	requirePage(t, registry, help+`dynpsrpc_bus_dropped_total{dynpsrpc_bus="one",dynpsrpc_reason="OOM"} 2
dynpsrpc_bus_dropped_total{dynpsrpc_bus="one",dynpsrpc_reason="unknown"} 1
dynpsrpc_bus_dropped_total{dynpsrpc_bus="two",dynpsrpc_reason="unknown"} 4
# HELP dynpsrpc_bus_connected 1 if the bus is connected to its broker, otherwise 0.
# TYPE dynpsrpc_bus_connected gauge
dynpsrpc_bus_connected{dynpsrpc_bus="one"} 1
dynpsrpc_bus_connected{dynpsrpc_bus="two"} 0
`, "dynpsrpc_bus_dropped_total", "dynpsrpc_bus_connected")
	stopThree := m.Watch(metrics.BusSource("three", monitored{b, bus.Stats{Dropped: 5}}))
	stop()
	stop()
	requirePage(t, registry, help+`dynpsrpc_bus_dropped_total{dynpsrpc_bus="three",dynpsrpc_reason="unknown"} 5
`, "dynpsrpc_bus_dropped_total")
	stopThree()
	families, err := registry.Gather()
	require.NoError(t, err)
	assert.Empty(t, families)
}

func TestNew_Errors(t *testing.T) {
	t.Parallel()
	for _, boundaries := range [][]float64{{2, 1}, {1, 1}} {
		_, err := prommetrics.New(prometheus.NewRegistry(), prommetrics.WithBuckets("rpc.client.call.duration", boundaries...))
		assert.ErrorContains(t, err, "buckets of rpc.client.call.duration must be in increasing order")
	}
}

func BenchmarkObserve(b *testing.B) {
	m, _ := newMetrics(b)
	instrument := &metrics.Instrument{
		Name: "rpc.server.call.duration", Unit: "s", Buckets: prometheus.DefBuckets,
		Keys: []string{"rpc.system.name", "rpc.method", "rpc.response.status_code", "error.type"},
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Observe(b.Context(), instrument, 0.001, "psrpc", "my.pkg.MyService/NormalRPC", "ok", "")
	}
}
