package fleet

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// histogramOf returns the histogram that a server records for the durations, in nanoseconds.
func histogramOf(durations ...uint64) Histogram {
	var counters methodCounters
	for _, ns := range durations {
		counters.observe(int64(ns))
	}
	return counters.histogram()
}

func TestHistogram_Buckets(t *testing.T) {
	t.Parallel()
	for ns, want := range map[uint64]int32{
		0: -1, 1: -1, 2: 7, 3: 12, 4: 15, 5: 18, 1 << 20: 159, 1<<20 + 1: 160, math.MaxUint64: maxBucket,
	} {
		assert.Equal(t, want, bucketOf(ns), ns)
	}
	// The bounds of all buckets are irrational, except for powers of two. Both integers next to a
	// bound must be in the right bucket.
	for index := int32(80); index < maxBucket; index++ {
		bound := math.Exp2(float64(index+1) / subBuckets)
		assert.Equal(t, index, bucketOf(uint64(bound)), "below %f", bound)
		assert.Equal(t, index+1, bucketOf(uint64(bound)+1), "above %f", bound)
	}
}

// TestHistogram_Quantile compares the quantiles with those of the sorted durations.
func TestHistogram_Quantile(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	durations := make([]uint64, 10_000)
	for i := range durations {
		durations[i] = uint64(math.Exp2(10 + random.Float64()*30))
	}
	h := histogramOf(durations...)
	slices.Sort(durations)
	for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		want := durations[max(int(math.Ceil(q*float64(len(durations)))), 1)-1]
		assert.InEpsilon(t, float64(want), float64(h.Quantile(q)), 0.046, q)
	}
	assert.Equal(t, uint64(len(durations)), h.Count())
	assert.Equal(t, time.Duration(durations[len(durations)-1]), h.Max)
	var sum uint64
	for _, ns := range durations {
		sum += ns
	}
	assert.Equal(t, time.Duration(sum/uint64(len(durations))), h.Mean())
}

func TestHistogram_Empty(t *testing.T) {
	t.Parallel()
	var h Histogram
	assert.Zero(t, h.Quantile(0.5))
	assert.Zero(t, h.Mean())
	h.Merge(Histogram{})
	assert.Empty(t, h.Sub(histogramOf(5)))
	assert.Equal(t, Histogram{}, histogramOf())
}

// No histogram that a faulty peer sends may cause a panic or a wrong result.
func TestHistogram_FaultyPeer(t *testing.T) {
	t.Parallel()
	lowest := Histogram{Offset: math.MinInt32, Counts: []uint64{1}}
	highest := Histogram{Offset: math.MaxInt32, Counts: []uint64{1}}
	for _, faulty := range []Histogram{lowest, highest, {Offset: -5}, {Offset: maxBucket + 1, Counts: []uint64{1, 2}}} {
		h := histogramOf(5, 900)
		h.Merge(faulty)
		assert.Equal(t, histogramOf(5, 900), h)
		assert.Equal(t, h, h.Sub(faulty))
		assert.Zero(t, faulty.Quantile(0.5))
		faulty.Merge(h)
		assert.Equal(t, h, faulty)
	}
	overlapping := Histogram{Offset: minBucket - 2, Counts: []uint64{7, 7, 1}}
	h := Histogram{Offset: maxBucket, Counts: []uint64{1, 7}}
	h.Merge(overlapping)
	assert.Len(t, h.Counts, bucketCount)
	assert.EqualValues(t, 2, h.Count())
}

// TestHistogram_MergeAndSub checks that merging histograms is the same as recording all durations in
// one, and that Sub undoes Merge.
func TestHistogram_MergeAndSub(t *testing.T) {
	t.Parallel()
	low, middle, high := []uint64{3, 900}, []uint64{700, 800, 5000}, []uint64{1_000_000, 20_000_000}
	for _, parts := range [][][]uint64{{low, middle, high}, {high, middle, low}, {middle, high, low}, {{}, low, high}} {
		var merged Histogram
		for _, part := range parts {
			other := histogramOf(part...)
			before := slices.Clone(other.Counts)
			merged.Merge(other)
			require.Equal(t, before, other.Counts)
		}
		all := histogramOf(slices.Concat(parts...)...)
		assert.Equal(t, all, merged)
		rest := merged.Sub(histogramOf(parts[0]...))
		assert.Equal(t, uint64(len(parts[1])+len(parts[2])), rest.Count())
		var want uint64
		for _, ns := range slices.Concat(parts[1], parts[2]) {
			want += ns
		}
		assert.Equal(t, time.Duration(want), rest.Sum)
		assert.Equal(t, all, merged, "Sub must not change its receiver")
	}
}
