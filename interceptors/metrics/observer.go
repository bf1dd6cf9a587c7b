package metrics

import (
	"context"
)

// Observer receives measurements. It must be safe for concurrent use, and it must be fast, because
// calls wait for it.
type Observer interface {
	// Observe receives one measurement: a value for a [Histogram], or the amount to add to an
	// [UpDown] or a [Counter]. labels has one element for each key of the instrument, in the same
	// order; Observe must not retain the slice. ctx is the context of the call.
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
	// Gauge values are not aggregated: the latest value counts.
	Gauge
)

// Instrument describes a metric. Instruments are immutable, and each combination of name and keys
// has exactly one Instrument in the program, so pointers to them may be used as map keys.
type Instrument struct {
	// Name is the dotted name, as in the semantic conventions.
	Name string
	// Description is one English sentence.
	Description string
	// Unit is the unit of the values in the Unified Code for Units of Measure: "s", "By", or an
	// annotation such as "{call}" for numbers of things.
	Unit string
	// Kind is the type of the instrument.
	Kind Kind
	// Keys are the attribute keys of the labels.
	Keys []string
	// Buckets are the upper bounds of a histogram's buckets, in Unit.
	Buckets []float64
}
