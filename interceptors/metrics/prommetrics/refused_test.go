package prommetrics_test

import (
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics/prommetrics"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit/kinds"
)

func TestNew_TwiceOnOneRegisterer(t *testing.T) {
	t.Parallel()
	m, registry := newMetrics(t, prommetrics.WithBuckets("rpc.client.response.size", 2, 4))
	var wait sync.WaitGroup
	for range 10 { // a program may call New for each server, conn and plugin
		wait.Go(func() {
			again, err := prommetrics.New(registry)
			assert.NoError(t, err)
			assert.Same(t, m, again)
			again, err = prommetrics.New(registry, prommetrics.WithBuckets("rpc.client.response.size", 2, 4))
			assert.NoError(t, err)
			assert.Same(t, m, again)
		})
	}
	wait.Wait()
	_, err := prommetrics.New(registry, prommetrics.WithBuckets("rpc.client.response.size", 8))
	require.ErrorContains(t, err, "buckets of rpc.client.response.size differ from those of the Metrics that is already registered")
	coded, _ := errors.AsType[errors.Error](err)
	assert.Equal(t, errors.FailedPrecondition, coded.Code())

	labelled, err := prommetrics.New(prometheus.WrapRegistererWith(prometheus.Labels{"plugin": "a"}, registry))
	require.NoError(t, err)
	assert.NotSame(t, m, labelled)
	again, err := prommetrics.New(prometheus.WrapRegistererWith(prometheus.Labels{"plugin": "a"}, registry))
	require.NoError(t, err)
	assert.Same(t, labelled, again)

	other, err := prommetrics.New(prometheus.WrapRegistererWith(prometheus.Labels{"plugin": "b"}, registry))
	require.NoError(t, err)
	assert.NotSame(t, labelled, other)
	prefixed, err := prommetrics.New(prometheus.WrapRegistererWithPrefix("mine_", registry))
	require.NoError(t, err)
	assert.NotSame(t, m, prefixed)
	for _, observer := range []metrics.Observer{m, labelled, other, prefixed} {
		w := kinds.New(t, metrics.New(observer), metrics.New(observer))
		_, err = w.CallEvery(t.Context(), "hi")
		require.NoError(t, err)
	}
	count, err := testutil.GatherAndCount(registry, "rpc_server_call_duration_seconds", "rpc_client_call_duration_seconds")
	require.NoError(t, err)
	assert.Equal(t, 6, count)
}

// failingRegisterer is a registry that rejects the second collector.
type failingRegisterer struct {
	*prometheus.Registry

	calls int
}

func (r *failingRegisterer) Register(c prometheus.Collector) error {
	if r.calls++; r.calls == 2 {
		return errors.New("no more")
	}
	return r.Registry.Register(c)
}

func TestNew_AfterAFailure(t *testing.T) {
	t.Parallel()
	registry := &failingRegisterer{Registry: prometheus.NewRegistry()}
	_, err := prommetrics.New(registry)
	require.EqualError(t, err, "no more")
	_, err = prommetrics.New(registry)
	require.NoError(t, err)
}

func instrument(name string, kind metrics.Kind, keys ...string) *metrics.Instrument {
	return &metrics.Instrument{Name: name, Description: "Help for " + name + ".", Kind: kind, Keys: keys}
}

// The test observes and reports invalid values. A scrape must still return all valid metrics of the
// program.
func TestMetrics_NothingBreaksThePage(t *testing.T) {
	t.Parallel()
	m, registry := newMetrics(t)
	program := prometheus.NewCounter(prometheus.CounterOpts{Name: "of_the_program_total", Help: "x"})
	registry.MustRegister(program)
	ctx := t.Context()
	ok := instrument("ok", metrics.Counter, "a")
	other := *ok
	other.Description = "Another help."
	wrongBuckets := instrument("buckets", metrics.Histogram)
	wrongBuckets.Buckets = []float64{2, 1}
	m.Observe(ctx, ok, 1, "x")
	m.Observe(ctx, &other, 1, "x") // the description is ignored, because the metric already has one
	m.Observe(ctx, ok, 1, "\xff")  // the invalid byte is replaced
	m.Observe(ctx, ok, 1, "y\xff\xfe")
	sizes := instrument("sizes", metrics.Histogram)
	sizes.Buckets = []float64{1}
	m.Observe(ctx, sizes, 1)
	m.Observe(ctx, instrument("pair", metrics.Counter, "a", "b"), 1, "x", "y")
	m.Observe(ctx, instrument("pair", metrics.Counter, "a", "b"), 1, "x", "y")
	invalid := []func(){
		func() { m.Observe(ctx, ok, 1) },
		func() { m.Observe(ctx, instrument("pair", metrics.Counter, "b", "a"), 1, "y", "x") },
		func() { m.Observe(ctx, ok, 1, "x", "y") },
		func() { m.Observe(ctx, ok, -1, "x") },
		func() { m.Observe(ctx, ok, math.NaN(), "x") },
		func() { m.Observe(ctx, wrongBuckets, 1) },
		func() { m.Observe(ctx, instrument("", metrics.Gauge), 1) },
		func() { m.Observe(ctx, instrument("a\xffb", metrics.Gauge), 1) },
		func() { m.Observe(ctx, instrument("twice", metrics.UpDown, "a.b", "a_b"), 1, "x", "y") },
		func() { m.Observe(ctx, instrument("reserved", metrics.UpDown, "__name__"), 1, "x") },
		func() { m.Observe(ctx, instrument("le", metrics.Histogram, "le"), 1, "x") },
		func() { m.Observe(ctx, instrument("sizes.count", metrics.UpDown), 1) },
		func() { m.Observe(ctx, instrument("ok.total", metrics.UpDown, "a"), 1, "x") },
		func() {
			m.Observe(ctx, instrument("dynpsrpc.metrics.refused", metrics.Counter, "reason"), 1, "invalid")
		},
	}
	for _, observe := range invalid {
		observe()
	}
	scrapes := 0
	stop := m.Watch(
		func(report metrics.Record) {
			report(instrument("state", metrics.Gauge, "a"), 1, "x")
			report(instrument("state", metrics.Gauge, "a"), 2, "\xff")
			report(instrument("state", metrics.Gauge, "a"), 3, "x") // ignored as a duplicate
			report(instrument("state", metrics.Gauge), 4)
			// This value is ignored as a duplicate, because an empty label equals a missing one.
			report(instrument("state", metrics.Gauge, "a"), 5, "")
			report(instrument("state", metrics.Gauge, "a", "b"), 6, "x", "y")
			// This value is ignored as a duplicate, because the order of labels does not matter.
			report(instrument("state", metrics.Gauge, "b", "a"), 7, "y", "x")
			report(instrument("state", metrics.Gauge, "a"), 8) // invalid, because a label is missing
			// This value is valid, because a counter has another name in Prometheus.
			report(instrument("state", metrics.Counter, "a"), 9, "x")
			// This value is invalid, because the program already observes this metric.
			report(instrument("ok", metrics.Counter, "a"), 10, "x")
			// This value is invalid, because its name in Prometheus would be sizes_sum, which is a
			// metric of the histogram "sizes".
			report(instrument("sizes.sum", metrics.Gauge), 11)
		},
		func(metrics.Record) { panic("closed") },
		metrics.BusSource("main", monitored{bus.NewLocal(), bus.Stats{}}),
		metrics.BusSource("main\xff", monitored{bus.NewLocal(), bus.Stats{}}),
		func(metrics.Record) { scrapes++ },
	)
	defer stop()
	// These values are duplicates of those of the source above.
	m.Watch(metrics.BusSource("main", monitored{bus.NewLocal(), bus.Stats{Dropped: 1}}))

	for range 3 {
		requirePage(t, registry, `
# HELP of_the_program_total x
# TYPE of_the_program_total counter
of_the_program_total 0
# HELP ok_total Help for ok.
# TYPE ok_total counter
ok_total{a="x"} 2
ok_total{a="y`+"\uFFFD"+`"} 1
ok_total{a="`+"\uFFFD"+`"} 1
# HELP pair_total Help for pair.
# TYPE pair_total counter
pair_total{a="x",b="y"} 2
# HELP sizes Help for sizes.
# TYPE sizes histogram
sizes_bucket{le="1"} 1
sizes_bucket{le="+Inf"} 1
sizes_sum 1
sizes_count 1
# HELP state Help for state.
# TYPE state gauge
state 4
state{a="x"} 1
state{a="`+"\uFFFD"+`"} 2
state{a="x",b="y"} 6
# HELP state_total Help for state.
# TYPE state_total counter
state_total{a="x"} 9
# HELP dynpsrpc_bus_dropped_total Frames lost between the broker and this process.
# TYPE dynpsrpc_bus_dropped_total counter
dynpsrpc_bus_dropped_total{dynpsrpc_bus="main",dynpsrpc_reason="unknown"} 0
dynpsrpc_bus_dropped_total{dynpsrpc_bus="main`+"\uFFFD"+`",dynpsrpc_reason="unknown"} 0
`, "of_the_program_total", "ok_total", "pair_total", "sizes", "sizes_count", "sizes_sum", "state", "state_total", "buckets", "reserved", "twice", "le",
			"dynpsrpc_bus_dropped_total")
	}
	assert.Equal(t, 3, scrapes)
	// Each invalid observation is counted once. Each scrape also counts 3 invalid values, one panic
	// and several duplicates.
	families, err := registry.Gather()
	require.NoError(t, err)
	refused := map[string]float64{}
	for _, family := range families {
		if family.GetName() == "dynpsrpc_metrics_refused_total" {
			for _, metric := range family.GetMetric() {
				refused[metric.GetLabel()[0].GetValue()] = metric.GetCounter().GetValue()
			}
		}
	}
	assert.InDelta(t, float64(len(invalid)+4*3), refused["invalid"], 0)
	assert.InDelta(t, 4, refused["panic"], 0)
	assert.Positive(t, refused["duplicate"])
}

func TestMetrics_Exemplars(t *testing.T) {
	t.Parallel()
	m, registry := newMetrics(t)
	duration := &metrics.Instrument{Name: "d", Description: "x", Unit: "s", Kind: metrics.Histogram, Buckets: []float64{1, 2, 3}, Keys: []string{"k"}}
	size := &metrics.Instrument{Name: "s", Description: "x", Unit: "By", Kind: metrics.Histogram, Buckets: []float64{1}}
	span := func(id byte, flags trace.TraceFlags) context.Context {
		return trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{id}, SpanID: trace.SpanID{id}, TraceFlags: flags,
		}))
	}
	m.Observe(span(1, trace.FlagsSampled), duration, 0.5, "a\xff")
	m.Observe(span(2, 0), duration, 1.5, "a\xff")
	m.Observe(t.Context(), duration, 2.5, "a\xff")
	m.Observe(span(3, trace.FlagsSampled), size, 0.5)

	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	response := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(response, request)
	page := response.Body.String()
	assert.Equal(t, http.StatusOK, response.Code)
	assert.Contains(t, page, `le="1.0"} 1 # {`)
	assert.Contains(t, page, `trace_id="01000000000000000000000000000000"`)
	assert.Contains(t, page, `span_id="0100000000000000"`)
	assert.Equal(t, 1, strings.Count(page, "trace_id"), page)
}
