package lifecycle

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestGate_EmptyClosesAtOnce(t *testing.T) {
	t.Parallel()
	gate := NewGate()
	assert.True(t, isClosed(gate.Close()))
	assert.False(t, gate.Enter())
	assert.True(t, isClosed(gate.Close()), "a second close returns the same channel")
}

func TestGate_WaitsForThoseInside(t *testing.T) {
	t.Parallel()
	gate := NewGate()
	require.True(t, gate.Enter())
	require.True(t, gate.Enter())

	empty := gate.Close()
	assert.False(t, gate.Enter(), "nobody enters a closed gate")
	gate.Leave()
	assert.False(t, isClosed(empty))
	gate.Leave()
	assert.True(t, isClosed(empty))
}

func TestGate_ReopensForNobodyAfterTheLastLeft(t *testing.T) {
	t.Parallel()
	gate := NewGate()
	for range 3 {
		require.True(t, gate.Enter())
		gate.Leave()
	}
	assert.True(t, isClosed(gate.Close()))
	for range 3 {
		assert.False(t, gate.Enter())
	}
}

// Nobody may be inside once the channel is closed, however entering, leaving and closing interleave.
func TestGate_ManyGoroutines(t *testing.T) {
	t.Parallel()
	for range 200 {
		gate := NewGate()
		var inside atomic.Int64
		var done atomic.Bool
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for gate.Enter() {
					inside.Add(1)
					assert.False(t, done.Load(), "entered after the gate was empty and closed")
					inside.Add(-1)
					gate.Leave()
				}
			})
		}
		<-gate.Close()
		done.Store(true)
		assert.Zero(t, inside.Load())
		wg.Wait()
	}
}
