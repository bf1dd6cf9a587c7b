package otelmetrics_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics/otelmetrics"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit/kinds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collected returns all metrics that the reader has collected, keyed by name.
func collected(t testing.TB, reader metric.Reader) map[string]metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	byName := map[string]metricdata.Metrics{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			byName[m.Name] = m
		}
	}
	return byName
}

func TestMetrics_Collected(t *testing.T) {
	t.Parallel()
	reader := metric.NewManualReader()
	m := otelmetrics.New(metric.NewMeterProvider(metric.WithReader(reader)))
	w := kinds.New(t, metrics.New(m), metrics.New(m))
	_, err := w.Call(t.Context(), kinds.One, "hi")
	require.NoError(t, err)
	_, err = w.Call(t.Context(), kinds.One, "fail")
	require.Error(t, err)
	_, err = w.CallEvery(t.Context(), "hi")
	require.NoError(t, err)

	all := collected(t, reader)
	duration := all["rpc.client.call.duration"]
	assert.Equal(t, "s", duration.Unit)
	assert.Equal(t, "Measures the duration of an outgoing Remote Procedure Call (RPC).", duration.Description)
	points := duration.Data.(metricdata.Histogram[float64]).DataPoints
	require.Len(t, points, 3)
	failed := points[slices.IndexFunc(points, func(p metricdata.HistogramDataPoint[float64]) bool { return p.Attributes.HasValue("error.type") })]
	assert.Equal(t, attribute.NewSet(
		attribute.String("rpc.system.name", "psrpc"), attribute.String("rpc.method", "kinds.All/One"),
		attribute.String("rpc.response.status_code", "not_found"), attribute.String("error.type", "not_found"),
	), failed.Attributes)
	assert.Equal(t, uint64(1), failed.Count)
	assert.Contains(t, failed.Bounds, 0.075)

	active := all["dynpsrpc.server.active_calls"].Data.(metricdata.Sum[float64])
	assert.False(t, active.IsMonotonic)
	for _, point := range active.DataPoints {
		assert.Zero(t, point.Value)
	}
	responses := all["dynpsrpc.client.multi.responses"].Data.(metricdata.Sum[float64])
	assert.True(t, responses.IsMonotonic)
	require.Len(t, responses.DataPoints, 1)
	assert.InDelta(t, 1, responses.DataPoints[0].Value, 0)
}

// monitored is a bus whose statistics are chosen by the test.
type monitored struct {
	bus.Bus

	stats bus.Stats
}

func (m monitored) Stats() bus.Stats { return m.stats }

func TestMetrics_Watch(t *testing.T) {
	t.Parallel()
	reader := metric.NewManualReader()
	m := otelmetrics.New(metric.NewMeterProvider(metric.WithReader(reader)))
	b := bus.NewLocal()
	defer b.Close()
	one, two := monitored{b, bus.Stats{Connected: true, Dropped: 3, DroppedBy: map[string]uint64{"OOM": 2}}}, monitored{b, bus.Stats{Dropped: 4}}
	stop, err := m.Watch(metrics.BusSource("one", one), metrics.BusSource("two", two))
	require.NoError(t, err)

	all := collected(t, reader)
	dropped := all["dynpsrpc.bus.dropped"].Data.(metricdata.Sum[float64])
	assert.True(t, dropped.IsMonotonic)
	values := map[string]float64{}
	for _, point := range dropped.DataPoints {
		name, _ := point.Attributes.Value("dynpsrpc.bus")
		reason, _ := point.Attributes.Value("dynpsrpc.reason")
		values[name.AsString()+" "+reason.AsString()] = point.Value
	}
	assert.Equal(t, map[string]float64{"one OOM": 2, "one unknown": 1, "two unknown": 4}, values)
	assert.Len(t, all["dynpsrpc.bus.connected"].Data.(metricdata.Gauge[float64]).DataPoints, 2)

	stop()
	assert.Empty(t, collected(t, reader))
}
