package queue

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFIFO_GrowsAndShrinks(t *testing.T) {
	t.Parallel()
	var f FIFO[int]
	pushed, popped := 0, 0
	for _, step := range []struct{ push, pop int }{{1, 1}, {31, 30}, {100, 50}, {1, 50}, {1000, 1002}} {
		for range step.push {
			f.Push(pushed)
			pushed++
		}
		for range step.pop {
			item, ok := f.Pop()
			require.Equal(t, popped < pushed, ok)
			if ok {
				require.Equal(t, popped, item)
				popped++
			}
		}
		require.Equal(t, pushed-popped, f.Len())
	}
	assert.Same(t, f.head, f.tail, "an empty queue keeps one block")
	assert.Zero(t, *f.head, "popped items are not referenced")
}

func TestFIFO_ReusesItsLastBlock(t *testing.T) {
	var f FIFO[int]
	f.Push(0)
	f.Pop()
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		f.Push(1)
		f.Pop()
	}))
}
