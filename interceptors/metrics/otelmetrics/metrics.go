package otelmetrics

import (
	"context"
	"slices"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
)

// Metrics is a [metrics.Observer] that records measurements with an OpenTelemetry meter. It is safe
// for concurrent use.
type Metrics struct {
	meter metric.Meter
	// records maps each *metrics.Instrument to a recordFunc.
	records sync.Map
}

type recordFunc func(ctx context.Context, value float64, attributes metric.MeasurementOption)

// New returns a Metrics that uses a meter from provider. If provider is nil, the global provider is
// used. Views configured on the provider override the default histogram buckets. If an instrument
// cannot be created, the error is passed to otel.Handle.
func New(provider metric.MeterProvider) *Metrics {
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	return &Metrics{meter: provider.Meter("github.com/dynpsrpc/dynpsrpc/interceptors/metrics/otelmetrics",
		metric.WithInstrumentationVersion(dynamic.Version))}
}

// Observe implements [metrics.Observer].
func (m *Metrics) Observe(ctx context.Context, instrument *metrics.Instrument, value float64, labels ...string) {
	record, known := m.records.Load(instrument)
	if !known {
		// Two goroutines may create the same instrument at the same time. This is harmless, because
		// the meter returns identical instruments.
		record, _ = m.records.LoadOrStore(instrument, m.newRecord(instrument))
	}
	record.(recordFunc)(ctx, value, attributes(instrument, labels))
}

// attributes converts the labels of an instrument to attributes. It omits empty labels.
func attributes(instrument *metrics.Instrument, labels []string) metric.MeasurementOption {
	keyValues := make([]attribute.KeyValue, 0, len(labels))
	for i, label := range labels {
		if label != "" {
			keyValues = append(keyValues, attribute.String(instrument.Keys[i], label))
		}
	}
	return metric.WithAttributeSet(attribute.NewSet(keyValues...))
}

func (m *Metrics) newRecord(i *metrics.Instrument) recordFunc {
	description, unit := metric.WithDescription(i.Description), metric.WithUnit(i.Unit)
	switch i.Kind {
	case metrics.Histogram:
		histogram, err := m.meter.Float64Histogram(i.Name, description, unit, metric.WithExplicitBucketBoundaries(i.Buckets...))
		handle(err)
		return func(ctx context.Context, value float64, attributes metric.MeasurementOption) {
			histogram.Record(ctx, value, attributes)
		}
	case metrics.Counter:
		counter, err := m.meter.Float64Counter(i.Name, description, unit)
		handle(err)
		return func(ctx context.Context, value float64, attributes metric.MeasurementOption) {
			counter.Add(ctx, value, attributes)
		}
	default:
		sum, err := m.meter.Float64UpDownCounter(i.Name, description, unit)
		handle(err)
		return func(ctx context.Context, value float64, attributes metric.MeasurementOption) {
			sum.Add(ctx, value, attributes)
		}
	}
}

func handle(err error) {
	if err != nil {
		otel.Handle(err)
	}
}

// Watch exports the values reported by sources until stop is called. Each source is called once by
// Watch itself and then on every collection. If an instrument cannot be created or the callback
// cannot be registered, Watch returns the meter's error. Nil sources are ignored.
func (m *Metrics) Watch(sources ...metrics.Source) (stop func(), err error) {
	sources = slices.DeleteFunc(slices.Clone(sources), func(source metrics.Source) bool { return source == nil })
	observables := map[*metrics.Instrument]metric.Float64Observable{}
	instruments := []metric.Observable{}
	for _, source := range sources {
		source(func(instrument *metrics.Instrument, _ float64, _ ...string) {
			if observables[instrument] == nil {
				observable, newErr := m.newObservable(instrument)
				err = errors.Join(err, newErr)
				observables[instrument] = observable
				instruments = append(instruments, observable)
			}
		})
	}
	if err != nil {
		return nil, err
	}
	registration, err := m.meter.RegisterCallback(func(_ context.Context, observer metric.Observer) error {
		for _, source := range sources {
			source(func(instrument *metrics.Instrument, value float64, labels ...string) {
				// An instrument that no source reported when Watch was called has no observable.
				// Its values cannot be exported.
				if observable := observables[instrument]; observable != nil {
					observer.ObserveFloat64(observable, value, attributes(instrument, labels))
				}
			})
		}
		return nil
	}, instruments...)
	if err != nil {
		return nil, err
	}
	return func() { handle(registration.Unregister()) }, nil
}

func (m *Metrics) newObservable(i *metrics.Instrument) (metric.Float64Observable, error) {
	description, unit := metric.WithDescription(i.Description), metric.WithUnit(i.Unit)
	if i.Kind == metrics.Counter {
		return m.meter.Float64ObservableCounter(i.Name, description, unit)
	}
	return m.meter.Float64ObservableGauge(i.Name, description, unit)
}
