package load

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Each duration below 128 ns has its own bucket. For longer durations, the width of a bucket is at
// most 1/64 of the duration.
const (
	subBits    = 6
	subBuckets = 1 << subBits
	buckets    = (64 - subBits + 1) * subBuckets
)

// histogram counts durations in buckets. It is safe for concurrent use, and adding a duration does
// not allocate. The zero value is an empty histogram.
type histogram struct {
	counts [buckets]atomic.Uint64
	sum    atomic.Uint64
	max    atomic.Uint64
}

// counts is the content of a histogram at one time.
type counts struct {
	buckets    [buckets]uint64
	total, sum uint64
	max        uint64
}

func (h *histogram) add(d time.Duration) {
	v := uint64(max(d, 0))
	h.counts[bucket(v)].Add(1)
	h.sum.Add(v)
	for {
		highest := h.max.Load()
		if v <= highest || h.max.CompareAndSwap(highest, v) {
			return
		}
	}
}

// read copies the current counts of the histogram to c.
func (h *histogram) read(c *counts) {
	c.total = 0
	for i := range h.counts {
		c.buckets[i] = h.counts[i].Load()
		c.total += c.buckets[i]
	}
	c.sum, c.max = h.sum.Load(), h.max.Load()
}

// sub subtracts an earlier reading of the same histogram from c. The maximum does not change,
// because the maximum since the earlier reading is not known.
func (c *counts) sub(earlier *counts) {
	for i := range c.buckets {
		c.buckets[i] -= earlier.buckets[i]
	}
	c.total -= earlier.total
	c.sum -= earlier.sum
}

// quantile returns the q-quantile of all durations. For example, it returns the median if q is 0.5.
// It returns 0 if there are none.
func (c *counts) quantile(q float64) time.Duration {
	rank := uint64(q * float64(c.total))
	var seen uint64
	for i, n := range c.buckets {
		if seen += n; seen > rank {
			return min(bucketValue(i), time.Duration(c.max)) //nolint:gosec // a duration was put in
		}
	}
	return 0
}

// summary returns the mean, the quantiles and the maximum of the durations.
func (c *counts) summary() Latency {
	if c.total == 0 {
		return Latency{}
	}
	return Latency{
		Mean: time.Duration(c.sum / c.total), //nolint:gosec // the mean of durations
		P50:  c.quantile(0.50), P90: c.quantile(0.90), P99: c.quantile(0.99), P999: c.quantile(0.999),
		Max: time.Duration(c.max), //nolint:gosec // a duration was put in
	}
}

func (h *histogram) summary() Latency {
	c := new(counts)
	h.read(c)
	return c.summary()
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
