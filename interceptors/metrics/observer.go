package metrics

import (
	"context"
)

// Observer receives measurements. An Observer must be safe for concurrent use, and it must be fast,
// because calls wait for it.
type Observer interface {
	// Observe receives one measurement. value is the measured value for a [Histogram], or the
	// amount to add to an [UpDown] or a [Counter]. labels contains one label for each key of the
	// instrument, in the same order. Observe must not retain labels. ctx is the context of the
	// call, stream or update.
	Observe(ctx context.Context, instrument *Instrument, value float64, labels ...string)
}

// Kind is the type of an instrument, which determines how its values are aggregated.
type Kind uint8

const (
	// Histogram values are counted in buckets.
	Histogram Kind = iota
	// Counter values are summed and never negative.
	Counter
	// UpDown values are summed and may be negative.
	UpDown
	// Gauge values are not aggregated: only the latest value is kept.
	Gauge
)

// Instrument describes a metric. Instruments are immutable. Package metrics creates only one
// Instrument for each combination of name and keys, so pointers to instruments may be used as map
// keys.
type Instrument struct {
	// Name is the dotted name of the instrument, such as "rpc.server.call.duration".
	Name string
	// Description describes the instrument in one English sentence.
	Description string
	// Unit is the unit of the values: "s" for seconds, "By" for bytes, or an annotation such as
	// "{call}" for counts. The notation is that of the Unified Code for Units of Measure.
	Unit string
	// Kind is the type of the instrument.
	Kind Kind
	// Keys are the attribute keys that correspond to the labels.
	Keys []string
	// Buckets are the upper bounds of the histogram buckets, in the unit of the values. Other kinds
	// of instruments have no buckets.
	Buckets []float64
}
