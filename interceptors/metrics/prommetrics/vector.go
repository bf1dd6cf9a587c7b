package prommetrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
)

// vector is the Prometheus metric for an instrument. It has one time series for each combination of
// labels.
type vector interface {
	prometheus.Collector
	observe(value float64, labels []string)
}

type histogram struct{ *prometheus.HistogramVec }

func (v histogram) observe(value float64, labels []string) {
	v.WithLabelValues(labels...).Observe(value)
}

type counter struct{ *prometheus.CounterVec }

func (v counter) observe(value float64, labels []string) { v.WithLabelValues(labels...).Add(value) }

type gauge struct{ *prometheus.GaugeVec }

func (v gauge) observe(value float64, labels []string) { v.WithLabelValues(labels...).Add(value) }

func newVector(instrument *metrics.Instrument, buckets []float64) vector {
	name, keys := name(instrument), keys(instrument)
	switch instrument.Kind {
	case metrics.Histogram:
		if buckets == nil {
			buckets = instrument.Buckets
		}
		return histogram{prometheus.NewHistogramVec(
			prometheus.HistogramOpts{Name: name, Help: instrument.Description, Buckets: buckets}, keys)}
	case metrics.Counter:
		return counter{prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: instrument.Description}, keys)}
	default:
		return gauge{prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: instrument.Description}, keys)}
	}
}

// newConstMetric converts one value reported by a source to a Prometheus metric.
func newConstMetric(instrument *metrics.Instrument, value float64, labels []string) prometheus.Metric {
	valueType := prometheus.GaugeValue
	if instrument.Kind == metrics.Counter {
		valueType = prometheus.CounterValue
	}
	desc := prometheus.NewDesc(name(instrument), instrument.Description, keys(instrument), nil)
	constMetric, err := prometheus.NewConstMetric(desc, valueType, value, labels...)
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return constMetric
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
