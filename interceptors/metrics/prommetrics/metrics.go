package prommetrics

import (
	"context"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
)

// Metrics is a [metrics.Observer] and a prometheus.Collector. Its methods may be called from many goroutines.
type Metrics struct {
	buckets map[string][]float64 // by name of the instrument
	vectors sync.Map             // *metrics.Instrument to vector

	mu      sync.Mutex // guards sources, and the making of vectors
	sources []*metrics.Source
}

// Option configures [New].
type Option func(*Metrics)

// WithBuckets sets the upper boundaries of a histogram's buckets, by the name that package metrics gives the instrument.
func WithBuckets(instrument string, boundaries ...float64) Option {
	return func(m *Metrics) { m.buckets[instrument] = slices.Clone(boundaries) }
}

// New returns Metrics that are registered. A nil registerer is prometheus.DefaultRegisterer. It fails if the boundaries of buckets do not rise,
// or as the registerer does.
func New(registerer prometheus.Registerer, opts ...Option) (*Metrics, error) {
	m := &Metrics{buckets: map[string][]float64{}}
	for _, opt := range opts {
		opt(m)
	}
	for instrument, boundaries := range m.buckets {
		if !slices.IsSorted(boundaries) || len(slices.Compact(slices.Clone(boundaries))) != len(boundaries) {
			return nil, errors.NewErrorf(errors.InvalidArgument, "buckets of %s must rise: %v", instrument, boundaries)
		}
	}
	if registerer == nil {
		registerer = prometheus.DefaultRegisterer
	}
	if err := registerer.Register(m); err != nil {
		return nil, err
	}
	return m, nil
}

// Watch shows what the sources report, until stop is called.
func (m *Metrics) Watch(sources ...metrics.Source) (stop func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	watched := make([]*metrics.Source, len(sources))
	for i := range sources {
		watched[i] = &sources[i]
	}
	m.sources = slices.Concat(m.sources, watched) // a copy: Collect reads the former one
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.sources = slices.DeleteFunc(slices.Clone(m.sources), func(s *metrics.Source) bool { return slices.Contains(watched, s) })
	}
}

// Observe takes one measurement.
func (m *Metrics) Observe(_ context.Context, instrument *metrics.Instrument, value float64, labels ...string) {
	v, known := m.vectors.Load(instrument)
	if !known {
		v = m.newVector(instrument)
	}
	v.(vector).observe(value, labels)
}

func (m *Metrics) newVector(instrument *metrics.Instrument) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, known := m.vectors.Load(instrument); known {
		return v
	}
	v := newVector(instrument, m.buckets[instrument.Name])
	m.vectors.Store(instrument, v)
	return v
}

// Describe describes nothing: instruments are known when they are used first.
func (m *Metrics) Describe(chan<- *prometheus.Desc) {}

// Collect collects what was measured, and what sources report.
func (m *Metrics) Collect(collected chan<- prometheus.Metric) {
	m.vectors.Range(func(_, v any) bool {
		v.(vector).Collect(collected)
		return true
	})
	m.mu.Lock()
	sources := m.sources
	m.mu.Unlock()
	for _, source := range sources {
		(*source)(func(instrument *metrics.Instrument, value float64, labels ...string) {
			collected <- newConstMetric(instrument, value, labels)
		})
	}
}
