package queue

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestWakeup_SendsCollapse(t *testing.T) {
	t.Parallel()
	w := NewWakeup()
	assert.Empty(t, w)
	for range 3 {
		w.Send()
	}
	assert.Len(t, w, 1)
	<-w
	assert.Empty(t, w)
	w.Send()
	assert.Len(t, w, 1)
}

// A goroutine checks a state after each wake-up. It must see the last change of the state, however
// many wake-ups were merged into one.
func TestWakeup_LastChangeIsSeen(t *testing.T) {
	t.Parallel()
	const senders, changes = 8, 1000
	w := NewWakeup()
	var state atomic.Int64
	var running sync.WaitGroup
	for range senders {
		running.Go(func() {
			for range changes {
				state.Add(1)
				w.Send()
			}
		})
	}
	for state.Load() < senders*changes {
		<-w
	}
	running.Wait()
}
