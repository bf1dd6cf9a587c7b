package fleet

import (
	"maps"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const (
	// maxErrorCodes is the maximum number of error codes that are counted separately for a method.
	// Handlers may use codes of their own, so the number is limited. Further codes are counted as
	// unknown.
	maxErrorCodes = 64
	// maxText is the maximum number of bytes of an error text in an answer.
	maxText = 200
)

// methodCounters counts what a server does with the requests of one method. It implements
// [dynamic.MethodRecorder]. A successful call costs five atomic additions and no lock.
//
// The numbers of successful and of running calls are not stored: stats computes them. Each call
// that has ended is in one bucket, and each failed call is also in errors.
type methodCounters struct {
	started, requestBytes, responseBytes atomic.Uint64
	notRun, declined, expired, panics    atomic.Uint64
	updates                              atomic.Uint64
	// sum and longest are in nanoseconds.
	sum, longest atomic.Int64
	// lastCall is the end of the latest call, in nanoseconds since the Unix epoch.
	lastCall atomic.Int64
	// lastAffinity is the affinity of the last claim, as the bits of a float32.
	lastAffinity atomic.Uint32
	// buckets counts the durations; see bucketOf. Its first element is the bucket minBucket.
	buckets [bucketCount]atomic.Uint64

	mu        sync.Mutex
	errors    map[errors.ErrorCode]uint64
	lastError LastError
}

// RecordStart implements dynamic.MethodRecorder.
func (c *methodCounters) RecordStart() { c.started.Add(1) }

// RecordEnd implements dynamic.MethodRecorder.
func (c *methodCounters) RecordEnd(end dynamic.CallEnd) {
	c.observe(max(int64(end.Duration), 0))
	c.requestBytes.Add(uint64(end.RequestBytes))   //nolint:gosec // sizes are not negative
	c.responseBytes.Add(uint64(end.ResponseBytes)) //nolint:gosec // sizes are not negative
	// lastCall is updated at most once per millisecond, because an atomic load costs less than a
	// store.
	if at := end.Time.UnixNano(); at-c.lastCall.Load() > int64(time.Millisecond) {
		c.lastCall.Store(at)
	}
	if end.Code != "" {
		c.fail(end)
	}
}

// observe adds a duration, in nanoseconds, to the histogram.
func (c *methodCounters) observe(ns int64) {
	c.buckets[bucketOf(uint64(ns))-minBucket].Add(1) //nolint:gosec // durations are not negative
	c.sum.Add(ns)
	for longest := c.longest.Load(); ns > longest; longest = c.longest.Load() {
		if c.longest.CompareAndSwap(longest, ns) {
			return
		}
	}
}

// fail counts a call that has failed.
func (c *methodCounters) fail(end dynamic.CallEnd) {
	if end.Unprocessed {
		c.notRun.Add(1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.errors == nil {
		c.errors = map[errors.ErrorCode]uint64{}
	}
	code := end.Code
	if _, known := c.errors[code]; !known && len(c.errors) >= maxErrorCodes {
		code = errors.Unknown
	}
	c.errors[code]++
	c.lastError = LastError{At: end.Time, Code: end.Code, Text: shorten(end.Text)}
}

// RecordClaim implements dynamic.MethodRecorder.
func (c *methodCounters) RecordClaim(affinity float32) {
	if encoded := math.Float32bits(affinity); encoded != c.lastAffinity.Load() {
		c.lastAffinity.Store(encoded)
	}
	if affinity < 0 {
		c.declined.Add(1)
	}
}

// RecordExpired implements dynamic.MethodRecorder.
func (c *methodCounters) RecordExpired() { c.expired.Add(1) }

// RecordPanic implements dynamic.MethodRecorder.
func (c *methodCounters) RecordPanic() { c.panics.Add(1) }

// RecordUpdate implements dynamic.MethodRecorder.
func (c *methodCounters) RecordUpdate() { c.updates.Add(1) }

// histogram returns the durations of all calls that have ended.
func (c *methodCounters) histogram() (h Histogram) {
	var counts [bucketCount]uint64
	first, last := bucketCount, -1
	for i := range c.buckets {
		if counts[i] = c.buckets[i].Load(); counts[i] > 0 {
			first, last = min(first, i), i
		}
	}
	if last < 0 {
		return h
	}
	h.Offset, h.Counts = int32(first+minBucket), append([]uint64(nil), counts[first:last+1]...)
	h.Sum, h.Max = time.Duration(c.sum.Load()), time.Duration(c.longest.Load())
	return h
}

// stats returns the current values. withText reports whether to include the text of the last error.
func (c *methodCounters) stats(withText bool) *Stats {
	c.mu.Lock()
	failures, lastError := maps.Clone(c.errors), c.lastError
	c.mu.Unlock()
	// A call increases c.started first, then a bucket, and then a number in c.errors. stats reads
	// them in the reverse order, so the differences below are never negative. Calls that start and
	// end between the reads of the histogram and of c.started count as active. They are few,
	// because reading takes microseconds.
	s := &Stats{Errors: failures, Duration: c.histogram()}
	ended := s.Duration.Count()
	s.CallsOK = ended
	for _, n := range failures {
		s.CallsOK -= n
	}
	s.CallsStarted = c.started.Load()
	s.Active = s.CallsStarted - ended
	s.NotRun, s.Declined, s.Expired, s.Panics = c.notRun.Load(), c.declined.Load(), c.expired.Load(), c.panics.Load()
	s.RequestBytes, s.ResponseBytes = c.requestBytes.Load(), c.responseBytes.Load()
	s.UpdatesPublished = c.updates.Load()
	s.LastAffinity = math.Float32frombits(c.lastAffinity.Load())
	if at := c.lastCall.Load(); at != 0 {
		s.LastCall = time.Unix(0, at)
	}
	if lastError.Code != "" {
		if !withText {
			lastError.Text = ""
		}
		s.LastError = &lastError
	}
	return s
}

// shorten cuts a text to maxText bytes.
func shorten(text string) string { return cut(text, maxText) }

// cut shortens a text to at most the given number of bytes, without splitting a character. The
// result does not keep the rest in memory.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return strings.Clone(text[:most])
}

// counters counts the calls of a server. It implements [dynamic.ServerRecorder].
type counters struct {
	server *dynamic.Server
	// changed is called when the server has changed.
	changed func(dynamic.ServerChange)

	mu sync.Mutex
	// methods is keyed by the names of the service and of the method on the bus. The versions of a
	// service share the counters, so that the counters do not restart at zero when the service is
	// replaced.
	methods map[[2]string]*methodCounters
}

// MethodRecorder implements dynamic.ServerRecorder.
func (c *counters) MethodRecorder(method *registry.Method) dynamic.MethodRecorder {
	return c.of(method)
}

// of returns the counters of a method. If there are none, it creates them.
func (c *counters) of(method *registry.Method) *methodCounters {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := [2]string{method.Service().WireName(), method.WireName()}
	counters := c.methods[key]
	if counters == nil {
		counters = &methodCounters{}
		if c.methods == nil {
			c.methods = map[[2]string]*methodCounters{}
		}
		c.methods[key] = counters
	}
	return counters
}

// RecordChange implements dynamic.ServerRecorder.
func (c *counters) RecordChange(change dynamic.ServerChange) { c.changed(change) }

// prune removes the counters of services that the server no longer has.
func (c *counters) prune() {
	current := map[string]struct{}{}
	for _, service := range c.server.Services() {
		current[service.WireName()] = struct{}{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.methods, func(key [2]string, _ *methodCounters) bool {
		_, keep := current[key[0]]
		return !keep
	})
}
