package shard

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCurrent_IsInRange(t *testing.T) {
	t.Parallel()
	for range 1000 {
		current := Current()
		assert.GreaterOrEqual(t, current, 0)
		assert.Less(t, current, Count)
	}
}

func TestCurrent_DoesNotAllocate(t *testing.T) {
	// Under the race detector, a sync.Pool drops one item in four, and New then allocates an int.
	assert.Less(t, testing.AllocsPerRun(1000, func() { _ = Current() }), 1.0)
}

func BenchmarkCurrent(b *testing.B) {
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = Current()
		}
	})
}
