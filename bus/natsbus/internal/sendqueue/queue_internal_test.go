package sendqueue

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestQueue_OneSendsForAll(t *testing.T) {
	t.Parallel()
	q := New[string](nil, nil)
	queued, contended := q.submit("a")
	assert.False(t, queued)
	assert.False(t, contended)
	for _, item := range []string{"b", "c"} {
		queued, _ = q.submit(item)
		assert.True(t, queued)
	}
	assert.Equal(t, []string{"b", "c"}, q.nextBatch())
	queued, _ = q.submit("d")
	assert.True(t, queued, "the sender has not finished")
	assert.Equal(t, []string{"d"}, q.nextBatch())
	assert.Empty(t, q.nextBatch())

	for range contentionWindow { // no other goroutine sends during this time
		queued, contended = q.submit("")
		assert.False(t, queued)
		assert.True(t, contended, "others have sent recently")
		assert.Empty(t, q.nextBatch())
	}
	_, contended = q.submit("")
	assert.False(t, contended)
}

// If several goroutines send at the same time, a sender must return after it has sent a limited
// number of items of other goroutines.
func TestQueue_SenderIsBounded(t *testing.T) {
	t.Parallel()
	q := New[int](nil, nil)
	q.submit(0)
	for range MaxQueued {
		queued, _ := q.submit(0)
		assert.True(t, queued)
	}
	next := make(chan bool)
	go func() { // the test waits for next
		queued, _ := q.submit(0)
		next <- queued
	}()
	assert.Len(t, q.nextBatch(), MaxQueued)
	select {
	case <-next:
		assert.Fail(t, "the queue is full")
	default:
	}
	assert.Empty(t, q.nextBatch())
	assert.False(t, <-next, "the goroutine that has waited is the next sender")
}
