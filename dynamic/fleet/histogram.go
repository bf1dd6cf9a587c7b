package fleet

import (
	"iter"
	"math"
	"math/bits"
	"slices"
	"time"
)

const (
	// subBuckets is the number of buckets between a power of two and the next.
	subBuckets = 8
	// minBucket and maxBucket are the lowest and highest index of a bucket. Durations longer than
	// 13 days are in the last bucket.
	minBucket, maxBucket = -1, 50*subBuckets - 1
	bucketCount          = maxBucket - minBucket + 1
)

// bucketBounds contains the lower bounds of the buckets between two powers of two. They are scaled
// so that the lower power of two is 1<<63. The last element is the maximum of uint64, which no
// scaled duration exceeds.
//
// bucketsBelow divides the range from 1<<63 to this maximum into 16 equal parts. For each part, it
// contains the number of bounds that are below the start of the part. No part contains more than
// one bound, so one comparison finds the bucket.
var bucketBounds, bucketsBelow = newBucketBounds()

func newBucketBounds() (bounds [subBuckets + 1]uint64, below [16]uint8) {
	bounds[subBuckets] = math.MaxUint64
	for i := range subBuckets {
		bounds[i] = uint64(math.Exp2(63 + float64(i)/subBuckets))
	}
	for i := range below {
		start := uint64(1)<<63 + uint64(i)<<59
		for _, bound := range bounds {
			if bound < start {
				below[i]++
			}
		}
	}
	return bounds, below
}

// bucketOf returns the index of the bucket of a duration in nanoseconds.
func bucketOf(ns uint64) int32 {
	if ns == 0 {
		return minBucket
	}
	zeros := bits.LeadingZeros64(ns)
	scaled := ns << zeros
	bucket := bucketsBelow[scaled>>59&15]
	if scaled > bucketBounds[bucket] {
		bucket++
	}
	return min(int32(63-zeros)*subBuckets+int32(bucket)-1, maxBucket) //nolint:gosec // at most 511
}

// bucketMiddle returns the duration, in nanoseconds, that represents all durations in a bucket. It
// is the geometric mean of the bounds.
func bucketMiddle(index int32) float64 { return math.Exp2((float64(index) + 0.5) / subBuckets) }

// Count returns the number of durations.
func (h *Histogram) Count() (count uint64) {
	for _, n := range h.Counts {
		count += n
	}
	return count
}

// Mean returns the mean duration, or 0 if there is none.
func (h *Histogram) Mean() time.Duration {
	count := h.Count()
	if count == 0 {
		return 0
	}
	return h.Sum / time.Duration(count) //nolint:gosec // a server cannot count that far
}

// Quantile estimates, from the buckets, the duration that the fraction q of all durations does not
// exceed. For example, q is 0.99 for the 99th percentile. Quantile returns 0 if there are no
// durations.
func (h *Histogram) Quantile(q float64) time.Duration {
	known := h.known()
	rank := uint64(math.Ceil(min(max(q, 0), 1) * float64(known.Count())))
	rank = max(rank, 1)
	for i, n := range known.Counts {
		if n >= rank {
			middle := time.Duration(bucketMiddle(known.Offset + int32(i)))
			if h.Max > 0 {
				return min(middle, h.Max)
			}
			return middle
		}
		rank -= n
	}
	return 0
}

// Buckets yields the upper bound of each bucket that is not empty, in ascending order, and the number
// of durations in it.
func (h *Histogram) Buckets() iter.Seq2[time.Duration, uint64] {
	return func(yield func(time.Duration, uint64) bool) {
		known := h.known()
		for i, n := range known.Counts {
			bound := time.Duration(math.Exp2(float64(known.Offset+int32(i)+1) / subBuckets))
			if n > 0 && !yield(bound, n) {
				return
			}
		}
	}
}

// known returns h without the buckets below minBucket or above maxBucket. Only a faulty peer sends
// such buckets, and merging them could need more memory than there is. The result shares the counts
// of h.
func (h *Histogram) known() Histogram {
	known := Histogram{Sum: h.Sum, Max: h.Max}
	first := max(minBucket-int64(h.Offset), 0)
	end := min(maxBucket+1-int64(h.Offset), int64(len(h.Counts)))
	if first < end {
		known.Offset, known.Counts = h.Offset+int32(first), h.Counts[first:end] //nolint:gosec // at most maxBucket
	}
	return known
}

// Merge adds the durations of other to h. It leaves out buckets that do not exist in this package,
// which only a faulty peer sends.
func (h *Histogram) Merge(other Histogram) {
	*h, other = h.known(), other.known()
	h.extend(other)
	for i, n := range other.Counts {
		h.Counts[int(other.Offset-h.Offset)+i] += n
	}
	h.Sum += other.Sum
	h.Max = max(h.Max, other.Max)
}

// Sub returns the durations of h that are not in earlier, which must be an earlier state of h. If
// it is not, for example because the server was restarted, negative differences become 0. The field
// Max of the result may be too large, because a histogram does not record when its longest duration
// was observed.
func (h *Histogram) Sub(earlier Histogram) Histogram {
	difference, earlier := h.known(), earlier.known()
	difference.Counts, difference.Sum = slices.Clone(difference.Counts), h.Sum-min(h.Sum, earlier.Sum)
	for i, n := range earlier.Counts {
		if i += int(earlier.Offset - difference.Offset); i >= 0 && i < len(difference.Counts) {
			difference.Counts[i] -= min(difference.Counts[i], n)
		}
	}
	return difference
}

// extend enlarges h so that it has all buckets of other.
func (h *Histogram) extend(other Histogram) {
	switch {
	case len(other.Counts) == 0:
		return
	case len(h.Counts) == 0:
		h.Offset = other.Offset
	case other.Offset < h.Offset:
		h.Counts = slices.Concat(make([]uint64, h.Offset-other.Offset), h.Counts)
		h.Offset = other.Offset
	}
	if end := int(other.Offset-h.Offset) + len(other.Counts); end > len(h.Counts) {
		h.Counts = append(slices.Clip(h.Counts), make([]uint64, end-len(h.Counts))...)
	}
}
