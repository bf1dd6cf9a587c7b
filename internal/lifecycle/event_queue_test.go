package lifecycle

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestEventQueue_HandlesAllInOrder(t *testing.T) {
	t.Parallel()
	queue := NewEventQueue[int]()
	for i := range eventQueueSize + 10 { // the last ten are dropped
		queue.Put(i)
	}
	done := make(chan struct{})
	close(done)
	var got []int
	queue.Run(done, func(value int) { got = append(got, value) })
	assert.Len(t, got, eventQueueSize)
	assert.IsIncreasing(t, got)
}
