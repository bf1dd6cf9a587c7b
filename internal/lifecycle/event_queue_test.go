package lifecycle

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFeed_OneAtATimeInOrderAndNoneIsLeft(t *testing.T) {
	t.Parallel()
	feed := NewEventQueue[int]()
	for i := range eventQueueSize + 10 { // what does not fit blocks nobody
		feed.Put(i)
	}
	done := make(chan struct{})
	close(done)
	var got []int
	feed.Run(done, func(value int) { got = append(got, value) })
	assert.Len(t, got, eventQueueSize)
	assert.IsIncreasing(t, got)
}
