package load

import (
	"fmt"
	"time"
)

// Result contains the measurements of a run. It leaves out the warm-up, except that Err may be an
// error of the warm-up.
type Result struct {
	// Started is when the run began to measure. Elapsed is the time until the last measured operation
	// ended. In an open loop, it is at least the time that the plan takes, so that PerSecond is not
	// higher than the rate.
	Started time.Time     `json:"started"`
	Elapsed time.Duration `json:"elapsed_ns"`
	// Operations is the number of operations that were started. Completed is the number of those
	// that ended without an error, and Failed is the number of the others.
	Operations uint64 `json:"operations"`
	Completed  uint64 `json:"completed"`
	Failed     uint64 `json:"failed"`
	// NotStarted is the number of operations that were due before the end of an open loop but were
	// not started. All callers were still busy a second after the end.
	NotStarted uint64 `json:"not_started"`
	// PerSecond is the number of completed operations per second.
	PerSecond float64 `json:"per_second"`
	// Latency describes the durations of the completed operations. In an open loop, they count from
	// the intended start.
	Latency Latency `json:"latency"`
	// Late describes how late each operation of an open loop was started, compared with its
	// intended start. This delay is part of Latency. It arises if the tool is slow or all callers
	// are busy.
	Late *Latency `json:"late,omitempty"`
	// Errors counts the failed operations by code.
	Errors map[string]uint64 `json:"errors,omitempty"`
	// Err is the first error, and FirstError is its text.
	FirstError string `json:"first_error,omitempty"`
	Err        error  `json:"-"`
	// Responses counts the responses to multi calls. It is nil for operations of other kinds.
	Responses *Responses `json:"responses,omitempty"`
	// Delivery says how many of the published updates have arrived. It is nil for operations of
	// other kinds.
	Delivery *Delivery `json:"delivery,omitempty"`
	// Seconds has one entry for each second of the run.
	Seconds []Second `json:"seconds,omitempty"`
}

// Latency describes durations, in nanoseconds. Quantiles are accurate to within 1 %.
type Latency struct {
	Mean time.Duration `json:"mean_ns"`
	P50  time.Duration `json:"p50_ns"`
	P90  time.Duration `json:"p90_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns"`
	Max  time.Duration `json:"max_ns"`
}

// Second contains the measurements of about one second.
type Second struct {
	// At is the end of the second, counted from [Result.Started].
	At        time.Duration `json:"at_ns"`
	Completed uint64        `json:"completed"`
	Failed    uint64        `json:"failed"`
	P50       time.Duration `json:"p50_ns"`
	P99       time.Duration `json:"p99_ns"`
}

// Responses counts the responses to multi calls.
type Responses struct {
	Total uint64 `json:"total"`
	// Fewest and Most are the lowest and the highest number of responses to a call.
	Fewest uint64 `json:"fewest"`
	Most   uint64 `json:"most"`
}

// Delivery says how many of the published updates have arrived, and how fast.
type Delivery struct {
	// Published is the number of updates that the bus has accepted.
	Published uint64 `json:"published"`
	// Received is the number of updates that all subscribers together have received. Lost is the
	// number of updates that they should have received but have not. Repeated is the number of
	// updates that a subscriber had already received before.
	Received uint64 `json:"received"`
	Lost     uint64 `json:"lost"`
	Repeated uint64 `json:"repeated"`
	// Foreign is the number of received updates that this run has not published.
	Foreign uint64 `json:"foreign"`
	// Latency is the time from the intended start of the publication to the delivery.
	Latency Latency `json:"latency"`
}

// MainLatency returns the latency that matters most. For updates, this is the latency of their
// delivery, and otherwise that of the operations.
func (r *Result) MainLatency() Latency {
	if r.Delivery != nil {
		return r.Delivery.Latency
	}
	return r.Latency
}

// ErrorRatio returns the fraction of the operations that failed, were not started, or lost their
// update. It is between 0 and 1.
func (r *Result) ErrorRatio() float64 {
	bad, all := r.Failed+r.NotStarted, r.Operations+r.NotStarted
	if d := r.Delivery; d != nil {
		// An operation that waits for a lost update fails. The update is already counted in Lost,
		// so r.Failed is not used here.
		refused := r.Operations - min(d.Published, r.Operations)
		bad = refused + r.NotStarted + d.Lost
		all = bad + d.Received
	}
	if all == 0 {
		return 0
	}
	return float64(bad) / float64(all)
}

// Thresholds are limits that a result must not violate. A zero field sets no limit.
type Thresholds struct {
	MaxP50, MaxP90, MaxP99, MaxP999 time.Duration
	// MaxErrors is the highest acceptable [Result.ErrorRatio]. It is nil if errors do not matter.
	MaxErrors *float64
	// MinRate is the lowest acceptable number of completed operations per second.
	MinRate float64
}

// Check returns one sentence for each threshold that the result violates.
func (t *Thresholds) Check(r *Result) []string {
	var broken []string
	latency := r.MainLatency()
	for _, limit := range []struct {
		name          string
		allowed, seen time.Duration
	}{
		{"p50", t.MaxP50, latency.P50}, {"p90", t.MaxP90, latency.P90},
		{"p99", t.MaxP99, latency.P99}, {"p99.9", t.MaxP999, latency.P999},
	} {
		if limit.allowed > 0 && limit.seen > limit.allowed {
			broken = append(broken, fmt.Sprintf("%s is %s, which is more than %s", limit.name, Round(limit.seen), limit.allowed))
		}
		if limit.allowed > 0 && r.Completed == 0 {
			broken = append(broken, fmt.Sprintf("%s is unknown, because no operation was completed", limit.name))
		}
	}
	if t.MaxErrors != nil && r.ErrorRatio() > *t.MaxErrors {
		broken = append(broken, fmt.Sprintf("%.3g %% of the operations failed, which is more than %.3g %%",
			100*r.ErrorRatio(), 100**t.MaxErrors))
	}
	if t.MinRate > 0 && r.PerSecond < t.MinRate {
		broken = append(broken, fmt.Sprintf("the rate is %.4g a second, which is less than %.4g", r.PerSecond, t.MinRate))
	}
	return broken
}

// Round rounds a duration to three significant digits.
func Round(d time.Duration) time.Duration {
	step := time.Duration(1)
	for d/step >= 1000 {
		step *= 10
	}
	return d.Round(step)
}
