package shard

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestOwn_IsAPart(t *testing.T) {
	t.Parallel()
	for range 1000 {
		own := Current()
		assert.GreaterOrEqual(t, own, 0)
		assert.Less(t, own, Count)
	}
}

func TestOwn_DoesNotAllocate(t *testing.T) {
	// The race detector has pools forget one thing in four, and allocation is then that of a number.
	assert.Less(t, testing.AllocsPerRun(1000, func() { _ = Current() }), 1.0)
}

func BenchmarkOwn(b *testing.B) {
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = Current()
		}
	})
}
