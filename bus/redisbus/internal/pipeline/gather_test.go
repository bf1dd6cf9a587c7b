package pipeline

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
)

// A caller must wait for the commands of other callers only while recent batches show that callers
// are concurrent. Only one caller may wait at a time.
func TestPipeline_GathersWhileCallersAreConcurrent(t *testing.T) {
	t.Parallel()
	p := New[sizedCommand](Config{Capacity: 100, MaxBatch: 100}, &resp.Conn{})
	writeBatch := func(commands int) {
		for range commands {
			_, err := p.tryEnqueue(sizedCommand(1))
			require.NoError(t, err)
		}
		require.Len(t, p.nextBatch(maxInlineBytes), commands)
		// Simulate that Redis has replied.
		p.queue.inFlight = nil
	}
	writeBatch(1)
	assert.Zero(t, p.queue.contention)
	writeBatch(contendedBatch)
	assert.Positive(t, p.queue.contention)

	p.gathering = true
	assert.False(t, p.gather(), "another goroutine will flush")
	p.gathering = false
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() {
			for range 1000 {
				p.gather()
			}
		})
	}
	running.Wait()
	assert.False(t, p.gathering)
	assert.True(t, p.gather())

	for range contentionWindow {
		writeBatch(1)
	}
	assert.Zero(t, p.queue.contention)
}
