package prommetrics

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
	"github.com/dynpsrpc/dynpsrpc/internal/guard"
)

// Metrics is a [metrics.Observer] and a prometheus.Collector. It is safe for concurrent use.
type Metrics struct {
	// buckets contains the bucket bounds set with WithBuckets, keyed by the name of the instrument.
	buckets map[string][]float64
	// vectors maps each *metrics.Instrument to its vector. Several instruments may share a vector.
	vectors sync.Map
	refused *prometheus.CounterVec

	// mu guards sources, families and the creation of vectors.
	mu      sync.Mutex
	sources []*metrics.Source
	// families maps the names of metrics to their families.
	families map[string]*family
}

// Option configures [New].
type Option func(*Metrics)

// WithBuckets sets the upper bounds of the buckets of a histogram. instrument is the name of the
// instrument in package metrics, such as "rpc.server.call.duration".
func WithBuckets(instrument string, boundaries ...float64) Option {
	return func(m *Metrics) { m.buckets[instrument] = slices.Clone(boundaries) }
}

// New returns a Metrics that is registered with registerer. If registerer is nil,
// prometheus.DefaultRegisterer is used. If an earlier call of New has registered a Metrics with
// registerer, New returns the same Metrics again.
//
// If bucket bounds are not in increasing order, New returns an error with the code
// invalid_argument. If a Metrics with other bounds is already registered, the code is
// failed_precondition. If the registration fails, New returns the error of the registerer.
func New(registerer prometheus.Registerer, opts ...Option) (*Metrics, error) {
	m := &Metrics{
		buckets: map[string][]float64{}, refused: newRefused(),
		families: map[string]*family{refusedName: {kind: metrics.Counter, from: fromCollect}},
	}
	for _, opt := range opts {
		if opt != nil {
			opt(m)
		}
	}
	for instrument, boundaries := range m.buckets {
		if !slices.IsSorted(boundaries) || len(slices.Compact(slices.Clone(boundaries))) != len(boundaries) {
			return nil, errors.NewErrorf(errors.InvalidArgument, "buckets of %s must be in increasing order: %v", instrument, boundaries)
		}
	}
	if registerer == nil {
		registerer = prometheus.DefaultRegisterer
	}
	return m.register(registerer)
}

// maxIdentities is the maximum number of names that register tries for an [identity]. Several
// registerers may add different labels to the metrics of one registry. Each of them then needs an
// identity with a different name, because a registry requires the same label names for all metrics
// with the same name.
const maxIdentities = 100

// register registers m, or returns the Metrics that is already registered.
func (m *Metrics) register(registerer prometheus.Registerer) (*Metrics, error) {
	var err error
	for n := range maxIdentities {
		id := newIdentity(m, n)
		err = registerer.Register(id)
		if err == nil {
			if err = registerer.Register(m); err != nil {
				registerer.Unregister(id)
				return nil, err
			}
			return m, nil
		}
		if registered, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
			earlier, ok := registered.ExistingCollector.(identity)
			if !ok {
				return nil, err
			}
			return earlier.Metrics, m.compareBuckets(earlier.Metrics)
		}
		// Another registerer for the same registry may already use this name with other labels.
		// Therefore, try the next name.
	}
	return nil, err
}

// compareBuckets returns an error if a histogram's buckets in m differ from those in earlier.
func (m *Metrics) compareBuckets(earlier *Metrics) error {
	for instrument, boundaries := range m.buckets {
		if !slices.Equal(boundaries, earlier.buckets[instrument]) {
			return errors.NewErrorf(errors.FailedPrecondition,
				"buckets of %s differ from those of the Metrics that is already registered: pass the same to each New", instrument)
		}
	}
	return nil
}

// identity prevents the registration of a second Metrics with the same registerer, because
// duplicate metrics would make each scrape fail. It is a collector without metrics that is
// registered together with a Metrics. A registerer cannot detect a second Metrics, because a
// Metrics does not describe its metrics in advance. However, it rejects a second identity with an
// error that contains the first one.
type identity struct {
	*Metrics

	desc *prometheus.Desc
}

func newIdentity(m *Metrics, n int) identity {
	return identity{m, prometheus.NewDesc(fmt.Sprint("dynpsrpc_observer_", n), "The observer of dynpsrpc.", nil, nil)}
}

// Describe implements prometheus.Collector.
func (i identity) Describe(ch chan<- *prometheus.Desc) { ch <- i.desc }

// Collect implements prometheus.Collector. It sends nothing.
func (identity) Collect(chan<- prometheus.Metric) {}

// Watch exports the values reported by sources until stop is called. Each source is called on every
// collection. If two sources report the same instrument and labels, only the value of the source
// that was passed first is exported. Nil sources are ignored.
func (m *Metrics) Watch(sources ...metrics.Source) (stop func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var watched []*metrics.Source
	for i := range sources {
		if sources[i] != nil {
			watched = append(watched, &sources[i])
		}
	}
	// The slice is copied because Collect reads the previous slice without holding the lock.
	m.sources = slices.Concat(m.sources, watched)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.sources = slices.DeleteFunc(slices.Clone(m.sources), func(s *metrics.Source) bool { return slices.Contains(watched, s) })
	}
}

// Observe implements [metrics.Observer]. If ctx has a sampled OpenTelemetry span, a duration is
// stored with an exemplar that contains the IDs of the trace and the span.
func (m *Metrics) Observe(ctx context.Context, instrument *metrics.Instrument, value float64, labels ...string) {
	v, known := m.vectors.Load(instrument)
	if !known {
		v = m.newVector(instrument)
	}
	if observe(v.(vector), ctx, value, labels) != nil {
		m.refused.WithLabelValues(refusedInvalid).Inc()
	}
}

// observe passes a value to a vector. If the vector returns an error, observe tries again with any
// invalid UTF-8 in the labels replaced, because Prometheus refuses such labels.
func observe(v vector, ctx context.Context, value float64, labels []string) error {
	err := v.observe(ctx, value, labels)
	if err != nil {
		err = v.observe(ctx, value, validLabels(labels))
	}
	return err
}

func (m *Metrics) newVector(instrument *metrics.Instrument) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, known := m.vectors.Load(instrument); known {
		return v
	}
	v := vector(refusing{})
	if f := m.familyLocked(instrument, fromObserve); f != nil {
		v = f.vector(instrument, m.buckets[instrument.Name])
	}
	m.vectors.Store(instrument, v)
	return v
}

// Describe implements prometheus.Collector. It sends nothing, because the instruments are not known
// before they are first used. This makes Metrics an unchecked collector.
func (m *Metrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector. It sends all measurements and the values reported by all
// sources. It leaves out values that Prometheus would refuse, because a single one would make the
// whole scrape fail. The counter dynpsrpc_metrics_refused_total counts the values that are left out
// and the sources that panic.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	sources := m.sources
	var vectors []vector
	for _, f := range m.families {
		for _, v := range f.vectors {
			vectors = append(vectors, v.vector)
		}
	}
	m.mu.Unlock()
	for _, v := range vectors {
		v.Collect(ch)
	}
	c := collection{Metrics: m, ch: ch, sent: map[string]bool{}}
	for _, source := range sources {
		err := guard.Call("source", func() error {
			(*source)(c.send)
			return nil
		})
		if err != nil {
			m.refused.WithLabelValues(refusedPanic).Inc()
		}
	}
	m.refused.Collect(ch)
}

// collection is the state of one call to Collect.
type collection struct {
	*Metrics

	ch chan<- prometheus.Metric
	// sent contains the [seriesKey] of each value that send has sent, so that no time series is
	// sent twice.
	sent map[string]bool
}

// send sends one value that a source has reported.
func (c collection) send(instrument *metrics.Instrument, value float64, labels ...string) {
	c.mu.Lock()
	f := c.familyLocked(instrument, fromSource)
	c.mu.Unlock()
	if f == nil {
		c.refused.WithLabelValues(refusedInvalid).Inc()
		return
	}
	metric, err := newConstMetric(instrument, f.help, value, validLabels(labels))
	key := seriesKey(instrument, labels)
	switch {
	case err != nil:
		c.refused.WithLabelValues(refusedInvalid).Inc()
	case c.sent[key]:
		c.refused.WithLabelValues(refusedDuplicate).Inc()
	default:
		c.sent[key] = true
		c.ch <- metric
	}
}
