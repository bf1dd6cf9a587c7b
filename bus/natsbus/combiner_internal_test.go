package natsbus

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCombiner_OneSendsForAll(t *testing.T) {
	t.Parallel()
	c := newCombiner()
	queued, contended := c.submit(outgoing{subject: "a"})
	assert.False(t, queued)
	assert.False(t, contended)
	for _, subject := range []string{"b", "c"} {
		queued, _ = c.submit(outgoing{subject: subject})
		assert.True(t, queued)
	}
	assert.Equal(t, []outgoing{{subject: "b"}, {subject: "c"}}, c.nextBatch())
	queued, _ = c.submit(outgoing{subject: "d"})
	assert.True(t, queued, "the sender has not finished")
	assert.Equal(t, []outgoing{{subject: "d"}}, c.nextBatch())
	assert.Empty(t, c.nextBatch())

	for range contentionWindow { // no other goroutine publishes during this time
		queued, contended = c.submit(outgoing{})
		assert.False(t, queued)
		assert.True(t, contended, "others have published recently")
		assert.Empty(t, c.nextBatch())
	}
	_, contended = c.submit(outgoing{})
	assert.False(t, contended)
}

// If several goroutines publish at the same time, one of them sends the frames of the others too.
// It must return after a limited number of frames, and the frames of each goroutine must stay in
// order.
func TestCombiner_TakesTurns(t *testing.T) {
	t.Parallel()
	const publishers, frames = 4, 10 * maxQueued
	c := newCombiner()
	var mu sync.Mutex
	sent := make([]int, publishers) // number of frames sent, indexed by publisher
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
				if queued, _ := c.submit(out); queued {
					continue
				}
				send(out)
				others := 0
				for batch := c.nextBatch(); len(batch) > 0; batch = c.nextBatch() {
					others += len(batch)
					for _, out := range batch {
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
