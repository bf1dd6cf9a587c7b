package natsbus

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOutbox_OneSendsForAll(t *testing.T) {
	t.Parallel()
	o := newCombiner()
	left, crowded := o.submit(outgoing{subject: "a"})
	assert.False(t, left)
	assert.False(t, crowded)
	for _, subject := range []string{"b", "c"} {
		left, _ = o.submit(outgoing{subject: subject})
		assert.True(t, left)
	}
	assert.Equal(t, []outgoing{{subject: "b"}, {subject: "c"}}, o.nextBatch())
	left, _ = o.submit(outgoing{subject: "d"})
	assert.True(t, left, "the sender has not finished")
	assert.Equal(t, []outgoing{{subject: "d"}}, o.nextBatch())
	assert.Empty(t, o.nextBatch())

	for range contentionWindow { // alone
		left, crowded = o.submit(outgoing{})
		assert.False(t, left)
		assert.True(t, crowded, "others came lately")
		assert.Empty(t, o.nextBatch())
	}
	_, crowded = o.submit(outgoing{})
	assert.False(t, crowded)
}

// TestOutbox_TakesTurns: nobody sends for others for ever, and what one goroutine publishes stays in order.
func TestOutbox_TakesTurns(t *testing.T) {
	t.Parallel()
	const publishers, frames = 4, 10 * maxQueued
	o := newCombiner()
	var mu sync.Mutex
	sent := make([]int, publishers) // how many of each were sent
	send := func(out outgoing) {
		mu.Lock()
		defer mu.Unlock()
		publisher := int(out.frame[0])
		assert.Equal(t, byte(sent[publisher]), out.frame[1])
		sent[publisher]++
	}
	var wg sync.WaitGroup
	for publisher := range publishers {
		wg.Go(func() {
			for i := range frames {
				out := outgoing{frame: []byte{byte(publisher), byte(i)}}
				if left, _ := o.submit(out); left {
					continue
				}
				send(out)
				others := 0
				for waiting := o.nextBatch(); len(waiting) > 0; waiting = o.nextBatch() {
					others += len(waiting)
					for _, out := range waiting {
						send(out)
					}
				}
				assert.LessOrEqual(t, others, maxQueued)
			}
		})
	}
	wg.Wait()
	for _, n := range sent {
		require.Equal(t, frames, n)
	}
}
