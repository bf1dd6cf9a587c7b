package prommetrics

import (
	"context"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
)

// vector is the Prometheus metric for an instrument. It has one time series for each combination of
// labels.
type vector interface {
	prometheus.Collector
	// observe returns an error if Prometheus does not accept the value or the labels.
	observe(ctx context.Context, value float64, labels []string) error
}

// errValue is returned for a value that a counter does not accept.
var errValue = errors.New("not a value of a counter")

type histogram struct {
	*prometheus.HistogramVec

	// exemplars reports whether values are stored with exemplars.
	exemplars bool
}

func (v histogram) observe(ctx context.Context, value float64, labels []string) error {
	observer, err := v.GetMetricWithLabelValues(labels...)
	if err != nil {
		return err
	}
	if v.exemplars {
		if span := trace.SpanContextFromContext(ctx); span.IsSampled() {
			observer.(prometheus.ExemplarObserver).ObserveWithExemplar(value,
				prometheus.Labels{"trace_id": span.TraceID().String(), "span_id": span.SpanID().String()})
			return nil
		}
	}
	observer.Observe(value)
	return nil
}

type counter struct{ *prometheus.CounterVec }

func (v counter) observe(_ context.Context, value float64, labels []string) error {
	metric, err := v.GetMetricWithLabelValues(labels...)
	switch {
	case err != nil:
		return err
	case !(value >= 0):
		// Unlike value < 0, this condition is also true for NaN.
		return errValue
	}
	metric.Add(value)
	return nil
}

type gauge struct{ *prometheus.GaugeVec }

func (v gauge) observe(_ context.Context, value float64, labels []string) error {
	metric, err := v.GetMetricWithLabelValues(labels...)
	if err == nil {
		metric.Add(value)
	}
	return err
}

// refusing is the vector of an instrument that Prometheus does not accept. It refuses all values.
type refusing struct{}

func (refusing) Describe(chan<- *prometheus.Desc) {}

func (refusing) Collect(chan<- prometheus.Metric) {}

func (refusing) observe(context.Context, float64, []string) error { return errInstrument }

// errInstrument is returned for each value of an instrument that Prometheus does not accept.
var errInstrument = errors.New("not an instrument that Prometheus accepts")

func newVector(instrument *metrics.Instrument, help string, buckets []float64) vector {
	name, keys := name(instrument), keys(instrument)
	switch instrument.Kind {
	case metrics.Histogram:
		if buckets == nil {
			buckets = instrument.Buckets
		}
		return histogram{
			prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, keys),
			instrument.Unit == "s",
		}
	case metrics.Counter:
		return counter{prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, keys)}
	default:
		return gauge{prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, keys)}
	}
}

// newConstMetric converts one value reported by a source to a Prometheus metric.
func newConstMetric(instrument *metrics.Instrument, help string, value float64, labels []string) (prometheus.Metric, error) {
	valueType := prometheus.GaugeValue
	if instrument.Kind == metrics.Counter {
		valueType = prometheus.CounterValue
	}
	return prometheus.NewConstMetric(prometheus.NewDesc(name(instrument), help, keys(instrument), nil), valueType, value, labels...)
}

var (
	underscores = strings.NewReplacer(".", "_")
	suffixes    = map[string]string{"s": "_seconds", "By": "_bytes"}
)

// name returns the Prometheus name of an instrument.
func name(instrument *metrics.Instrument) string {
	name := underscores.Replace(instrument.Name) + suffixes[instrument.Unit]
	if instrument.Kind == metrics.Counter {
		name += "_total"
	}
	return name
}

func keys(instrument *metrics.Instrument) []string {
	keys := make([]string, len(instrument.Keys))
	for i, key := range instrument.Keys {
		keys[i] = underscores.Replace(key)
	}
	return keys
}
