package serve

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A request may contain arbitrary times. elapsed must return the same result as time.Time.Sub,
// which never overflows.
func TestElapsed_LikeSub(t *testing.T) {
	now := time.Now().UnixNano()
	times := []int64{math.MinInt64, math.MinInt64 + 1, -now, -1, 0, 1, now, now + 1, math.MaxInt64 - 1, math.MaxInt64}
	for _, start := range times {
		for _, end := range times {
			want := time.Unix(0, end).Sub(time.Unix(0, start))
			assert.Equal(t, want, elapsed(start, end), "from %d to %d", start, end)
		}
	}
}
