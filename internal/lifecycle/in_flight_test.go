package lifecycle

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

func TestWideGate_EmptyClosesAtOnce(t *testing.T) {
	t.Parallel()
	var gate InFlight
	assert.True(t, isClosed(gate.Close()))
	assert.Nil(t, gate.Enter())
	assert.True(t, isClosed(gate.Close()), "a second close returns the same channel")
}

func TestWideGate_WaitsForThoseInside(t *testing.T) {
	t.Parallel()
	for _, crowded := range []bool{false, true} {
		var gate InFlight
		first := gate.Enter()
		require.NotNil(t, first)
		if crowded { // the first one is still where it was before
			gate.sharded.Store(new([shard.Count]paddedCounter))
		}
		second := gate.Enter()
		require.NotNil(t, second)
		assert.Equal(t, crowded, first != second)

		empty := gate.Close()
		assert.Nil(t, gate.Enter(), "nobody enters a closed gate")
		gate.Leave(second)
		assert.False(t, isClosed(empty))
		gate.Leave(first)
		assert.True(t, isClosed(empty))
		assert.Nil(t, gate.Enter())
		assert.True(t, isClosed(gate.Close()))
	}
}

// Nobody may be inside once the channel is closed, however entering, leaving and closing interleave.
func TestWideGate_ManyGoroutines(t *testing.T) {
	t.Parallel()
	for range 200 {
		var gate InFlight
		var inside atomic.Int64
		var done atomic.Bool
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for place := gate.Enter(); place != nil; place = gate.Enter() {
					inside.Add(1)
					assert.False(t, done.Load(), "entered after the gate was empty and closed")
					inside.Add(-1)
					gate.Leave(place)
				}
			})
		}
		<-gate.Close()
		done.Store(true)
		assert.Zero(t, inside.Load())
		wg.Wait()
	}
}

// BenchmarkGate compares the two when all processors go in and out.
func BenchmarkGate(b *testing.B) {
	b.Run("narrow", func(b *testing.B) {
		gate := NewGate()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				gate.Enter()
				gate.Leave()
			}
		})
	})
	b.Run("wide", func(b *testing.B) {
		var gate InFlight
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				gate.Leave(gate.Enter())
			}
		})
	})
}
