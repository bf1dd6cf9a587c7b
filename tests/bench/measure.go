package main

import (
	"context"
	"runtime"
	"time"
)

// measurement holds the results of a benchmark in one round, or their medians over all rounds.
type measurement struct {
	// Operations is the number of completed operations.
	Operations float64 `json:"operations"`
	// Failed is the number of operations that returned an error or a wrong response.
	Failed float64 `json:"failed"`
	// PerSecond is the number of completed operations per second. In benchmarks that measure
	// updates, it is the number of published updates per second.
	PerSecond float64 `json:"per_second"`
	// P50 and P99 are percentiles of the latency in nanoseconds. They are 0 in benchmarks that do
	// not measure latencies.
	P50 float64 `json:"p50_ns"`
	P99 float64 `json:"p99_ns"`
	// Allocs is the number of allocations, Bytes is the number of allocated bytes, and CPU is the
	// CPU time in microseconds. All three are given per operation and include the client and the
	// servers, but not the brokers.
	Allocs float64 `json:"allocs_per_op"`
	Bytes  float64 `json:"bytes_per_op"`
	CPU    float64 `json:"cpu_us_per_op"`
	// Delivered is the number of updates received per second, added up over all subscribers.
	Delivered float64 `json:"delivered_per_sec"`
	// Lost is the percentage of expected updates that were not received. In other benchmarks, it is
	// the percentage of operations that failed or whose message was not received.
	Lost float64 `json:"lost_percent"`
}

// rate returns the figure that is used to compare benchmarks. It is the rate of received updates if
// there are any, and the rate of completed operations otherwise.
func (m *measurement) rate() float64 {
	if m.Delivered > 0 {
		return m.Delivered
	}
	return m.PerSecond
}

// fields returns pointers to all fields, so that the median of each can be computed.
func (m *measurement) fields() []*float64 {
	return []*float64{
		&m.Operations, &m.Failed, &m.PerSecond, &m.P50, &m.P99, &m.Allocs, &m.Bytes, &m.CPU, &m.Delivered, &m.Lost,
	}
}

// measureRow sets up a benchmark, measures it for the given duration, and tears it down.
func measureRow(r *row, brokers *brokers, duration time.Duration, profiles profiles) (m measurement, failure error) {
	overdue, cancel := context.WithTimeout(context.Background(), 2*duration+3*patience)
	defer cancel()
	setup := onStage(func(stage *stage) {
		s := &scene{stage: stage, brokers: brokers, row: r, overdue: overdue.Done()}
		do := r.open(s)
		// The first run is a warm-up, whose results are discarded.
		do(time.Now().Add(min(duration/4, time.Second/4)))
		runtime.GC()
		s.check(profiles.start(r))
		m, failure = measure(do, duration)
		s.check(profiles.stop(r))
	})
	if setup != nil {
		failure = setup
	}
	return m, failure
}

// measure runs a [load] for the given duration. If some operations fail, the measurement covers the
// successful ones, and the error describes the failures.
func measure(do load, duration time.Duration) (measurement, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	processorBefore := processorTime()
	done := do(time.Now().Add(duration))
	processor := processorTime() - processorBefore
	runtime.ReadMemStats(&after)

	operations := float64(max(done.completed, 1))
	m := measurement{
		Operations: float64(done.completed),
		Failed:     float64(done.failed),
		PerSecond:  float64(done.completed) / done.elapsed.Seconds(),
		Allocs:     float64(after.Mallocs-before.Mallocs) / operations,
		Bytes:      float64(after.TotalAlloc-before.TotalAlloc) / operations,
		CPU:        float64(processor.Nanoseconds()) / 1e3 / operations,
	}
	if done.latency != nil {
		m.P50, m.P99 = float64(done.latency.quantile(0.50)), float64(done.latency.quantile(0.99))
	}
	if done.deliveredIn > 0 {
		m.Delivered = float64(done.delivered) / done.deliveredIn.Seconds()
	}
	if sent := done.delivered + done.lost; done.deliveredIn > 0 && sent > 0 {
		m.Lost = 100 * float64(done.lost) / float64(sent)
	} else if lost := done.lost + done.failed; lost > 0 {
		m.Lost = 100 * float64(lost) / float64(done.completed+lost)
	}
	return m, done.err
}
