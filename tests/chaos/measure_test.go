package chaos

import (
	"fmt"
	"slices"
	"time"
)

// measure is a list of measured durations. It must not be empty when its methods are called.
type measure []time.Duration

func (m measure) median() time.Duration { return slices.Sorted(slices.Values(m))[len(m)/2] }
func (m measure) max() time.Duration    { return slices.Max(m) }

func (m measure) String() string {
	return fmt.Sprintf("median %v, max %v", m.median().Round(time.Millisecond), m.max().Round(time.Millisecond))
}
