package redisbus

import (
	"bufio"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type noCommand struct{}

func (noCommand) size() int             { return 1 }
func (noCommand) write(*bufio.Writer)   {}
func (noCommand) complete(int64, error) {}

// A caller must wait for the commands of other callers only while recent batches show that callers
// are concurrent. Only one caller may wait at a time.
func TestPipeline_GathersWhileCallersAreConcurrent(t *testing.T) {
	t.Parallel()
	p := &pipeline[noCommand]{capacity: 100, maxBatch: 100, socket: &socket{}, inFlightLimit: minInFlight}
	writeBatch := func(commands int) {
		for range commands {
			_, err := p.tryEnqueue(noCommand{})
			require.NoError(t, err)
		}
		require.Len(t, p.nextBatch(maxInlineBytes), commands)
		// Simulate that Redis has replied.
		p.inFlight = nil
	}
	writeBatch(1)
	assert.Zero(t, p.contention)
	writeBatch(contendedBatch)
	assert.Positive(t, p.contention)

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
	assert.Zero(t, p.contention)
}
