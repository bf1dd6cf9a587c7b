package main

import (
	"math/bits"
	"time"
)

// Each duration below 128 ns has its own bucket. For longer durations, the width of a bucket is at
// most 1/64 of the duration.
const (
	subBits    = 6
	subBuckets = 1 << subBits
)

// histogram counts durations in buckets. Its methods do not allocate. The zero value is an empty
// histogram.
type histogram struct {
	counts [(64 - subBits + 1) * subBuckets]uint64
	total  uint64
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(uint64(max(d, 0)))]++
	h.total++
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
}

// quantile returns the q-quantile of all durations. For example, it returns the median if q is 0.5.
// It returns 0 if the histogram is empty.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(q * float64(h.total))
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen > rank {
			return bucketValue(i)
		}
	}
	return 0
}

func bucket(v uint64) int {
	shift := max(bits.Len64(v)-subBits-1, 0)
	return shift*subBuckets + int(v>>shift) //nolint:gosec // less than 128
}

// bucketValue returns the duration in the middle of bucket i.
func bucketValue(i int) time.Duration {
	if i < 2*subBuckets {
		return time.Duration(i)
	}
	shift := i/subBuckets - 1
	low := uint64(i-shift*subBuckets) << shift //nolint:gosec // not negative
	return time.Duration(low + 1<<shift/2)     //nolint:gosec // fits in an int64
}
