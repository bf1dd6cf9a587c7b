package lifecycle

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

func TestInFlight_DrainedAtOnceIfEmpty(t *testing.T) {
	t.Parallel()
	var inFlight InFlight
	assert.True(t, isClosed(inFlight.Close()))
	assert.Nil(t, inFlight.Enter())
	assert.True(t, isClosed(inFlight.Close()), "a second close returns the same channel")
}

func TestInFlight_WaitsForOperations(t *testing.T) {
	t.Parallel()
	for _, contended := range []bool{false, true} {
		var inFlight InFlight
		first := inFlight.Enter()
		require.NotNil(t, first)
		if contended { // first has already been counted by the single counter
			inFlight.sharded.Store(new([shard.Count]paddedCounter))
		}
		second := inFlight.Enter()
		require.NotNil(t, second)
		assert.Equal(t, contended, first != second)

		drained := inFlight.Close()
		assert.Nil(t, inFlight.Enter(), "Enter fails after Close")
		inFlight.Leave(second)
		assert.False(t, isClosed(drained))
		inFlight.Leave(first)
		assert.True(t, isClosed(drained))
		assert.Nil(t, inFlight.Enter())
		assert.True(t, isClosed(inFlight.Close()))
	}
}

// When the channel returned by Close is closed, no operation may be in flight any longer, however
// Enter, Leave and Close interleave.
func TestInFlight_ManyGoroutines(t *testing.T) {
	t.Parallel()
	for range 200 {
		var inFlight InFlight
		var entered atomic.Int64
		var done atomic.Bool
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for token := inFlight.Enter(); token != nil; token = inFlight.Enter() {
					entered.Add(1)
					assert.False(t, done.Load(), "entered after it was drained")
					entered.Add(-1)
					inFlight.Leave(token)
				}
			})
		}
		<-inFlight.Close()
		done.Store(true)
		assert.Zero(t, entered.Load())
		wg.Wait()
	}
}

// BenchmarkGate compares Gate and InFlight under contention.
func BenchmarkGate(b *testing.B) {
	b.Run("Gate", func(b *testing.B) {
		gate := NewGate()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				gate.Enter()
				gate.Leave()
			}
		})
	})
	b.Run("InFlight", func(b *testing.B) {
		var inFlight InFlight
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				inFlight.Leave(inFlight.Enter())
			}
		})
	})
}
