package pipeline

import (
	"bufio"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sizedCommand is a command with a size, in bytes, and nothing else.
type sizedCommand int

func (c sizedCommand) Size() int           { return int(c) }
func (sizedCommand) Write(*bufio.Writer)   {}
func (sizedCommand) Complete(int64, error) {}

func newQueue(t *testing.T, capacity int, sizes ...sizedCommand) *queue[sizedCommand] {
	t.Helper()
	q := &queue[sizedCommand]{capacity: capacity, maxBatch: 100, inFlightLimit: minInFlight}
	for _, size := range sizes {
		_, err := q.add(size)
		require.NoError(t, err)
	}
	return q
}

// A full queue must signal when there is space again. All waiting callers must be woken, and only
// once.
func TestQueue_Full(t *testing.T) {
	t.Parallel()
	q := newQueue(t, 2, 1, 1)
	freed, err := q.add(1)
	require.ErrorIs(t, err, ErrFull)
	again, err := q.add(1)
	require.ErrorIs(t, err, ErrFull)
	assert.Equal(t, freed, again, "callers share a channel")
	select {
	case <-freed:
		require.Fail(t, "nothing has been removed")
	default:
	}
	require.Len(t, q.nextBatch(maxInlineBytes), 2)
	<-freed
	_, err = q.add(1)
	require.NoError(t, err)
	_, err = q.add(1)
	require.NoError(t, err)
	next, err := q.add(1)
	require.ErrorIs(t, err, ErrFull)
	assert.NotEqual(t, freed, next)
}

// A batch ends when it is large enough for the processor's caches, or for the caller that writes
// it.
func TestQueue_BatchSizes(t *testing.T) {
	t.Parallel()
	q := newQueue(t, 100, 200<<10, 100<<10, 1, 1)
	assert.Nil(t, q.nextBatch(maxInlineBytes), "too much for a caller")
	assert.False(t, q.mustWait(maxInlineBytes), "Run has to write")
	assert.Len(t, q.nextBatch(1<<30), 2, "the second command exceeds the limit of a batch")
	assert.Equal(t, 300<<10, q.inFlightBytes)
	assert.Equal(t, 2, q.bytesToWrite())
	assert.Len(t, q.nextBatch(maxInlineBytes), 2)
	assert.Zero(t, q.bytesToWrite())
	assert.Nil(t, q.nextBatch(maxInlineBytes))
}

// On a fast link, large commands wait for a reply instead of waking Run. On a slow link, they must
// not wait.
func TestQueue_LargeCommandsWhileInFlight(t *testing.T) {
	t.Parallel()
	q := newQueue(t, 100, 1)
	require.Len(t, q.nextBatch(maxInlineBytes), 1)
	_, err := q.add(maxInlineBytes + 1)
	require.NoError(t, err)
	assert.True(t, q.mustWait(maxInlineBytes))
	assert.False(t, q.mustWait(1<<30), "for Run")
	q.setLimit(10)
	assert.False(t, q.mustWait(maxInlineBytes))
	assert.Equal(t, maxInlineBytes+2, q.bytesToWrite(), "the buffer may still contain the batch in flight")
}

// The total size of the unanswered batches is limited, but two batches of any size are permitted.
func TestQueue_BytesInFlight(t *testing.T) {
	t.Parallel()
	q := newQueue(t, 100)
	q.setLimit(maxInFlight)
	for i, size := range []sizedCommand{maxInFlightBytes, 1, 1} {
		_, err := q.add(size)
		require.NoError(t, err)
		assert.Equal(t, i == 2, q.limitReached())
		assert.Equal(t, i < 2, q.nextBatch(1<<30) != nil)
	}
	q.removeOldest()
	assert.False(t, q.limitReached())
	assert.Len(t, q.nextBatch(1<<30), 1)
}

// Batches must be reused, so that a command allocates no memory.
func TestQueue_ReusesBatches(t *testing.T) {
	t.Parallel()
	q := newQueue(t, 100, 1, 1)
	first := q.nextBatch(maxInlineBytes)
	q.removeOldest()
	_, err := q.add(1)
	require.NoError(t, err)
	second := q.nextBatch(maxInlineBytes)
	assert.Same(t, &first[0], &second[0])
	assert.Len(t, second, 1)
	q.removeOldest()
	q.addPing()
	q.removeOldest()
	assert.Len(t, q.freeBatches, 1, "a PING has no batch to use again")
	q.setLimit(maxInFlight)
	assert.Len(t, q.freeBatches, 1)
	q.setLimit(minInFlight)
	assert.Empty(t, q.freeBatches, "a slow link has had more batches than a fast one needs")
}

// After a failure, all commands must be returned in order, and the queue must be as if it were new.
func TestQueue_TakeAll(t *testing.T) {
	t.Parallel()
	q := newQueue(t, 3, 1, 2)
	require.Len(t, q.nextBatch(maxInlineBytes), 2)
	q.addPing()
	q.setLimit(5)
	for _, size := range []sizedCommand{3, 4, 5} {
		_, err := q.add(size)
		require.NoError(t, err)
	}
	freed, err := q.add(6)
	require.ErrorIs(t, err, ErrFull)
	assert.False(t, q.isEmpty())
	var sizes []sizedCommand
	for _, b := range q.takeAll() {
		sizes = append(sizes, b.items...)
	}
	assert.Equal(t, []sizedCommand{1, 2, 3, 4, 5}, sizes)
	<-freed
	assert.True(t, q.isEmpty())
	assert.Zero(t, q.bytesToWrite())
	assert.False(t, q.isSlow())
	_, ok := q.oldest()
	assert.False(t, ok)
}
