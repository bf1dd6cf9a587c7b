package load

import (
	"math"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// DefaultCallers is the number of callers of a closed loop.
	DefaultCallers = 1
	// DefaultMaxActive is how many operations of an open loop may run at once.
	DefaultMaxActive = 10_000
	// DefaultFor is how long a run measures.
	DefaultFor = 10 * time.Second
	// maxRate is the highest rate of an open loop, in operations per second.
	maxRate = 10_000_000
)

// Plan says how often and for how long [Run] repeats an operation.
type Plan struct {
	// Rate is the number of operations that an open loop starts per second. If it is 0 and Ramp is
	// nil, the loop is closed.
	Rate float64
	// Ramp makes the loop an open one whose rate changes. Ramp and Rate exclude each other.
	Ramp *Ramp
	// Callers is the number of callers of a closed loop, or the maximum number of operations of an
	// open loop that run at once. 0 stands for [DefaultCallers] or [DefaultMaxActive]. An open loop
	// that has reached the maximum starts its next operation late.
	Callers int
	// For is how long the run measures. If it is 0, the run ends after Count operations, or else at
	// the end of the ramp. If there is neither a Count nor a ramp, For is [DefaultFor].
	For time.Duration
	// Count is the number of measured operations after which the run ends. 0 means no limit.
	Count uint64
	// WarmUp is how long the loop runs before the run starts to measure.
	WarmUp time.Duration
	// Progress is called about once a second with what has happened since its previous call. It may
	// be nil.
	Progress func(Second)
}

// Ramp is a rate that changes evenly.
type Ramp struct {
	// From and To are the first and the last rate, in operations per second.
	From, To float64
	// Over is how long the change takes. After that, the rate stays at To.
	Over time.Duration
}

// open reports whether the loop is an open one.
func (p Plan) open() bool { return p.Rate > 0 || p.Ramp != nil }

// Validate returns an error with code [errors.InvalidArgument] if a value is out of range.
func (p Plan) Validate() error {
	_, err := p.withDefaults()
	return err
}

// withDefaults returns the plan with default values in place of zeros, or an error if a value is
// out of range.
func (p Plan) withDefaults() (Plan, error) {
	if !(p.Rate >= 0 && p.Rate <= maxRate) {
		return p, errors.NewErrorf(errors.InvalidArgument, "the rate must be between 0 and %d a second", maxRate)
	}
	if r := p.Ramp; r != nil {
		if p.Rate > 0 {
			return p, errors.NewErrorf(errors.InvalidArgument, "a rate and a ramp exclude each other")
		}
		if !(r.From > 0 && r.To > 0 && r.From <= maxRate && r.To <= maxRate) {
			return p, errors.NewErrorf(errors.InvalidArgument, "the rates of a ramp must be above 0 and at most %d a second", maxRate)
		}
		if r.Over <= 0 {
			return p, errors.NewErrorf(errors.InvalidArgument, "a ramp must take some time")
		}
		if p.For == 0 && p.Count == 0 {
			p.For = r.Over
		}
	}
	if p.For < 0 || p.WarmUp < 0 || p.Callers < 0 {
		return p, errors.NewErrorf(errors.InvalidArgument, "durations and the number of callers must not be negative")
	}
	if p.For == 0 && p.Count == 0 {
		p.For = DefaultFor
	}
	if p.Callers == 0 {
		p.Callers = DefaultCallers
		if p.open() {
			p.Callers = DefaultMaxActive
		}
	}
	return p, nil
}

// schedule says when the operations of an open loop start. Times count from the start of the loop.
type schedule struct {
	from, to float64
	// over is how long the change of the rate takes, in seconds.
	over float64
	// warmUp is how long the loop runs at the first rate before the rate changes, in seconds.
	warmUp float64
}

func (p Plan) schedule() schedule {
	s := schedule{from: p.Rate, to: p.Rate, warmUp: p.WarmUp.Seconds()}
	if p.Ramp != nil {
		s.from, s.to, s.over = p.Ramp.From, p.Ramp.To, p.Ramp.Over.Seconds()
	}
	return s
}

// warmUpOperations returns the number of operations that start during the warm-up.
func (s schedule) warmUpOperations() uint64 { return uint64(math.Ceil(s.from * s.warmUp)) }

// at returns the time at which operation n starts. The first operation is number 0.
func (s schedule) at(n uint64) time.Duration {
	if n < s.warmUpOperations() {
		return seconds(float64(n) / s.from)
	}
	return seconds(s.warmUp + s.ramped(float64(n-s.warmUpOperations())))
}

// ramped returns the start of operation n after the warm-up, in seconds since the end of the
// warm-up. It solves a quadratic equation, because the number of operations grows with the square
// of the time while the rate changes.
func (s schedule) ramped(n float64) float64 {
	inRamp := (s.from + s.to) / 2 * s.over
	if n >= inRamp {
		return s.over + (n-inRamp)/s.to
	}
	growth := (s.to - s.from) / (2 * s.over)
	if growth == 0 {
		return n / s.from
	}
	return (math.Sqrt(s.from*s.from+4*growth*n) - s.from) / (2 * growth)
}

// seconds converts a number of seconds to a duration, but returns at most longest.
func seconds(s float64) time.Duration {
	if s >= longest.Seconds() {
		return longest
	}
	return time.Duration(s * float64(time.Second))
}

// longest limits how long after the start of a loop an operation can be planned.
const longest = 100 * 365 * 24 * time.Hour
