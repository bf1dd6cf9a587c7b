package prommetrics

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
	"github.com/dynpsrpc/dynpsrpc/internal/guard"
)

// family is the state that all instruments with the same metric name share. Prometheus requires
// such instruments to have the same kind and the same help text.
type family struct {
	kind metrics.Kind
	help string
	from origin
	// accepted records whether Prometheus accepts an instrument with these attribute keys. The map
	// key consists of the attribute keys, joined in their order.
	accepted map[string]bool
	// vectors contains the vectors of the family. The map key of a vector consists of its attribute
	// keys, sorted and joined.
	vectors map[string]keyedVector
}

// keyedVector is a vector with its keys. Labels must be passed to the vector in the order of the
// keys.
type keyedVector struct {
	vector

	keys []string
}

// vector returns the vector for an instrument, and creates it if necessary. Instruments with the
// same name and keys share one.
func (f *family) vector(instrument *metrics.Instrument, buckets []float64) vector {
	sorted := strings.Join(slices.Sorted(slices.Values(instrument.Keys)), "\x00")
	v, known := f.vectors[sorted]
	if !known {
		v = keyedVector{newVector(instrument, f.help, buckets), instrument.Keys}
		f.vectors[sorted] = v
	}
	if !slices.Equal(v.keys, instrument.Keys) {
		// The instrument has the same keys as the vector, but in a different order. The vector
		// would therefore assign the instrument's labels to the wrong keys.
		return refusing{}
	}
	return v.vector
}

// origin describes where the values of an instrument come from. All values of a family have the
// same origin. Otherwise, two values could have the same labels, which Prometheus does not accept.
type origin string

const (
	fromObserve origin = "Observe"
	fromSource  origin = "a source"
	fromCollect origin = "Collect"
)

// familyLocked returns the family of an instrument, and creates it if necessary. It returns nil if
// Prometheus would refuse the instrument. The caller must hold m.mu.
func (m *Metrics) familyLocked(instrument *metrics.Instrument, from origin) *family {
	name := name(instrument)
	f, known := m.families[name]
	if !known {
		if m.collidesLocked(name, instrument.Kind) {
			return nil
		}
		f = &family{instrument.Kind, instrument.Description, from, map[string]bool{}, map[string]keyedVector{}}
		m.families[name] = f
	}
	if f.kind != instrument.Kind || f.from != from {
		return nil
	}
	keys := strings.Join(instrument.Keys, "\x00")
	accepted, known := f.accepted[keys]
	if !known {
		accepted = isAccepted(instrument)
		f.accepted[keys] = accepted
	}
	if !accepted {
		return nil
	}
	return f
}

// histogramSuffixes are the suffixes of the metrics that Prometheus derives from a histogram.
var histogramSuffixes = []string{"_bucket", "_count", "_sum"}

// collidesLocked reports whether a metric of a new family would have the same name as a metric of
// another family. This can happen because a histogram has several metrics, with the suffixes in
// histogramSuffixes. The caller must hold m.mu.
func (m *Metrics) collidesLocked(name string, kind metrics.Kind) bool {
	for _, suffix := range histogramSuffixes {
		base, cut := strings.CutSuffix(name, suffix)
		if f := m.families[base]; cut && f != nil && f.kind == metrics.Histogram {
			return true
		}
		if kind == metrics.Histogram && m.families[name+suffix] != nil {
			return true
		}
	}
	return false
}

// isAccepted reports whether Prometheus accepts the name, the keys and the buckets of an
// instrument. It finds out by registering a vector and observing a value.
func isAccepted(instrument *metrics.Instrument) bool {
	err := guard.Call("instrument", func() error {
		v := newVector(instrument, instrument.Description, nil)
		if err := prometheus.NewRegistry().Register(v); err != nil {
			return err
		}
		return v.observe(context.Background(), 0, make([]string, len(instrument.Keys)))
	})
	return err == nil
}

// These are the reasons why a measurement is not exported.
const (
	refusedInvalid   = "invalid"
	refusedDuplicate = "duplicate"
	refusedPanic     = "panic"
)

// refusedName is the name of the counter of measurements that are not exported.
const refusedName = "dynpsrpc_metrics_refused_total"

func newRefused() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: refusedName, Help: "Measurements that Prometheus would refuse, by reason.",
	}, []string{"reason"})
}

// validLabels returns a copy of labels in which invalid UTF-8 is replaced.
func validLabels(labels []string) []string {
	valid := make([]string, len(labels))
	for i, label := range labels {
		valid[i] = strings.ToValidUTF8(label, "\uFFFD")
	}
	return valid
}

// seriesKey returns a string that identifies the time series of an instrument with the given
// labels.
func seriesKey(instrument *metrics.Instrument, labels []string) string {
	var pairs []string
	for i, label := range validLabels(labels) {
		// Prometheus treats an empty label like a missing label.
		if i < len(instrument.Keys) && label != "" {
			pairs = append(pairs, underscores.Replace(instrument.Keys[i])+strconv.Quote(label))
		}
	}
	slices.Sort(pairs)
	return name(instrument) + strings.Join(pairs, "")
}
