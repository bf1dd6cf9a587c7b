package prommetrics

import (
	"context"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
)

// Metrics is a [metrics.Observer] and a prometheus.Collector. It is safe for concurrent use.
type Metrics struct {
	buckets map[string][]float64 // keyed by instrument name
	vectors sync.Map             // maps *metrics.Instrument to vector

	// mu guards sources and the creation of vectors.
	mu      sync.Mutex
	sources []*metrics.Source
}

// Option configures [New].
type Option func(*Metrics)

// WithBuckets sets the upper bounds of the buckets of a histogram. instrument is the name of the
// instrument in package metrics, such as "rpc.server.call.duration".
func WithBuckets(instrument string, boundaries ...float64) Option {
	return func(m *Metrics) { m.buckets[instrument] = slices.Clone(boundaries) }
}

// New returns a Metrics that is registered with registerer. If registerer is nil,
// prometheus.DefaultRegisterer is used. New returns an error with the code invalid_argument if
// bucket bounds are not in increasing order. If the registration fails, New returns the error of
// the registerer.
func New(registerer prometheus.Registerer, opts ...Option) (*Metrics, error) {
	m := &Metrics{buckets: map[string][]float64{}}
	for _, opt := range opts {
		opt(m)
	}
	for instrument, boundaries := range m.buckets {
		if !slices.IsSorted(boundaries) || len(slices.Compact(slices.Clone(boundaries))) != len(boundaries) {
			return nil, errors.NewErrorf(errors.InvalidArgument, "buckets of %s must be in increasing order: %v", instrument, boundaries)
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

// Watch exports the values reported by sources until stop is called. Each source is called on every
// collection.
func (m *Metrics) Watch(sources ...metrics.Source) (stop func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	watched := make([]*metrics.Source, len(sources))
	for i := range sources {
		watched[i] = &sources[i]
	}
	// The slice is copied because Collect reads the previous slice without holding the lock.
	m.sources = slices.Concat(m.sources, watched)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.sources = slices.DeleteFunc(slices.Clone(m.sources), func(s *metrics.Source) bool { return slices.Contains(watched, s) })
	}
}

// Observe implements [metrics.Observer].
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

// Describe implements prometheus.Collector. It sends nothing, because the instruments are not known
// before they are first used. This makes Metrics an unchecked collector.
func (m *Metrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector. It sends all measurements and the values reported by all
// sources.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.vectors.Range(func(_, v any) bool {
		v.(vector).Collect(ch)
		return true
	})
	m.mu.Lock()
	sources := m.sources
	m.mu.Unlock()
	for _, source := range sources {
		(*source)(func(instrument *metrics.Instrument, value float64, labels ...string) {
			ch <- newConstMetric(instrument, value, labels)
		})
	}
}
