package chaos

import (
	"fmt"
	"slices"
	"time"
)

// measure is a list of measured durations. It must not be empty when its methods are called.
type measure []time.Duration

func (m measure) median() time.Duration { return slices.Sorted(slices.Values(m))[len(m)/2] }
func (m measure) min() time.Duration    { return slices.Min(m) }
func (m measure) max() time.Duration    { return slices.Max(m) }

func (m measure) String() string {
	round := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	return fmt.Sprintf("min %v, median %v, max %v", round(m.min()), round(m.median()), round(m.max()))
}
