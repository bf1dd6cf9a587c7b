package metrics

import (
	"context"
)

// Observer takes measurements. It must be safe for concurrent use, and quick: calls wait for it.
type Observer interface {
	// Observe takes one measurement: a value of a [Histogram], or what is to be added to an [UpDown] or a [Counter]. There
	// is a label for each key of the instrument, in the same order; the slice must not be kept. ctx is that of the call.
	Observe(ctx context.Context, instrument *Instrument, value float64, labels ...string)
}

// Kind is how the values of an instrument are put together.
type Kind uint8

const (
	// Histogram values are distributed over buckets.
	Histogram Kind = iota
	// Counter values only grow.
	Counter
	// UpDown values are sums that grow and shrink.
	UpDown
	// Gauge values stand for themselves.
	Gauge
)

// Instrument is something that is measured. It is immutable, and there is one for each name and set of keys in the program:
// its address may be used as a key.
type Instrument struct {
	// Name is that of the semantic conventions, with dots.
	Name string
	// Description is a sentence for people.
	Description string
	// Unit is that of the values by the Unified Code for Units of Measure: s, By, or {call} and the like, for a number of
	// things.
	Unit string
	// Kind is how values are put together.
	Kind Kind
	// Keys are those of the labels.
	Keys []string
	// Buckets are the boundaries of a histogram's buckets.
	Buckets []float64
}
