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

func TestGate_DrainedAtOnceIfEmpty(t *testing.T) {
	t.Parallel()
	gate := NewGate()
	assert.True(t, isClosed(gate.Close()))
	assert.False(t, gate.Enter())
	assert.True(t, isClosed(gate.Close()), "a second close returns the same channel")
}

// If no operation is in flight, Close must return a closed channel, even if two goroutines call it
// at the same time.
func TestGate_ConcurrentClose(t *testing.T) {
	t.Parallel()
	for range 1000 {
		gate := NewGate()
		var closing sync.WaitGroup
		for range 2 {
			closing.Go(func() { assert.True(t, isClosed(gate.Close())) })
		}
		closing.Wait()
	}
}

func TestGate_WaitsForOperations(t *testing.T) {
	t.Parallel()
	gate := NewGate()
	require.True(t, gate.Enter())
	require.True(t, gate.Enter())

	drained := gate.Close()
	assert.False(t, gate.Enter(), "Enter fails after Close")
	gate.Leave()
	assert.False(t, isClosed(drained))
	gate.Leave()
	assert.True(t, isClosed(drained))
}

func TestGate_StaysClosed(t *testing.T) {
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

// When the channel returned by Close is closed, no operation may be in flight any longer, however
// Enter, Leave and Close interleave.
func TestGate_ManyGoroutines(t *testing.T) {
	t.Parallel()
	for range 200 {
		gate := NewGate()
		var entered atomic.Int64
		var done atomic.Bool
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for gate.Enter() {
					entered.Add(1)
					assert.False(t, done.Load(), "entered after it was drained")
					entered.Add(-1)
					gate.Leave()
				}
			})
		}
		<-gate.Close()
		done.Store(true)
		assert.Zero(t, entered.Load())
		wg.Wait()
	}
}
