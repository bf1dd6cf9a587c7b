package main

import (
	"context"
	"runtime"
	"time"
)

// measurement is the result of one round of a row, or the medians over several rounds.
type measurement struct {
	// Operations is the number of completed operations.
	Operations float64 `json:"operations"`
	// Failed is the number of operations with an error or a wrong response.
	Failed float64 `json:"failed"`
	// PerSecond is the rate of completed operations, for updates that of published ones.
	PerSecond float64 `json:"per_second"`
	// P50 and P99 are latencies, or 0 for rows without latencies.
	P50 float64 `json:"p50_ns"`
	P99 float64 `json:"p99_ns"`
	// Allocs, Bytes and CPU are the sums over client and servers. Brokers are not included.
	Allocs float64 `json:"allocs_per_op"`
	Bytes  float64 `json:"bytes_per_op"`
	CPU    float64 `json:"cpu_us_per_op"`
	// Delivered is the rate of received updates over all subscribers.
	Delivered float64 `json:"delivered_per_sec"`
	// Lost is the share of expected updates or messages that were not received.
	Lost float64 `json:"lost_percent"`
}

// rate returns the figure by which rows are compared.
func (m *measurement) rate() float64 {
	if m.Delivered > 0 {
		return m.Delivered
	}
	return m.PerSecond
}

// fields returns pointers to all figures, for computing medians.
func (m *measurement) fields() []*float64 {
	return []*float64{
		&m.Operations, &m.Failed, &m.PerSecond, &m.P50, &m.P99, &m.Allocs, &m.Bytes, &m.CPU, &m.Delivered, &m.Lost,
	}
}

// measureRow sets up a row, runs it for duration, and tears it down.
func measureRow(r *row, brokers *brokers, duration time.Duration, profiles profiles) (m measurement, failure error) {
	overdue, cancel := context.WithTimeout(context.Background(), 2*duration+3*patience)
	defer cancel()
	setup := onStage(func(stage *stage) {
		s := &scene{stage: stage, brokers: brokers, row: r, overdue: overdue.Done()}
		do := r.open(s)
		do(time.Now().Add(min(duration/4, time.Second/4))) // warm up
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

// measure runs a load for duration. It returns the error of the first failed operation.
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
	} else if sent := done.completed + done.lost; sent > 0 {
		m.Lost = 100 * float64(done.lost) / float64(sent)
	}
	return m, done.err
}
