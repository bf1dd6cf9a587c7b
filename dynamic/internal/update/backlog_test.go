package update

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// isFull reports whether b has no room for a frame of this size.
func (b *backlog) isFull(size, inChannel int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fullLocked(size, inChannel)
}

func (b *backlog) push(frame []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pushLocked(frame)
}

func TestBacklog_LimitOfUpdates(t *testing.T) {
	t.Parallel()
	b := newBacklog(3, 0, 3)
	assert.False(t, b.isFull(1<<30, 2), "the size does not matter")
	assert.True(t, b.isFull(1, 3))
	b.push([]byte("frame"))
	assert.False(t, b.isFull(1, 1))
	assert.True(t, b.isFull(1, 2))
	_, ok := b.pop()
	assert.True(t, ok)
	assert.False(t, b.isFull(1, 2))
}

// A single update may be larger than the limit. Otherwise, it could never be delivered.
func TestBacklog_LimitOfBytes(t *testing.T) {
	t.Parallel()
	const frame = 1000
	b := newBacklog(0, 3*(frame+frameOverhead), 4)
	assert.False(t, b.isFull(1<<30, 0))
	for range 3 {
		assert.False(t, b.isFull(frame, 0))
		b.push(make([]byte, frame))
	}
	assert.True(t, b.isFull(1, 0))
	_, _ = b.pop()
	assert.False(t, b.isFull(frame, 0))
	assert.True(t, b.isFull(frame+1, 0))
}

// Once a large update has arrived, updates in the channel count towards the limit until the reader
// takes them out.
func TestBacklog_CountsTheChannel(t *testing.T) {
	t.Parallel()
	b := newBacklog(0, 4000, 10)
	b.observe(100)
	b.recordSent(100)
	assert.False(t, b.counting.Load(), "100 bytes are a quarter of 4,000 bytes divided by 10")
	b.observe(101)
	assert.True(t, b.counting.Load())
	b.recordSent(1000)
	b.recordSent(2000)
	assert.False(t, b.isFull(1000-3*frameOverhead, 2))
	assert.True(t, b.isFull(1001-3*frameOverhead, 2))
	assert.False(t, b.isFull(2000-2*frameOverhead, 1), "the first one was read")
	assert.True(t, b.isFull(2001-2*frameOverhead, 1))
}

func TestBacklog_WithoutALimitOfBytesNothingIsLarge(t *testing.T) {
	t.Parallel()
	b := newBacklog(1, 0, 1)
	b.observe(1 << 40)
	assert.False(t, b.counting.Load())
}

func TestBacklog_Clear(t *testing.T) {
	t.Parallel()
	b := newBacklog(0, 1000, 1)
	b.push([]byte("a"))
	b.push([]byte("b"))
	assert.Equal(t, 2, b.len())
	assert.EqualValues(t, 2, b.clear())
	assert.Zero(t, b.len())
	assert.False(t, b.isFull(1<<30, 0), "nothing is waiting")
	assert.Zero(t, b.clear())
}

// The channel that emptied returns is closed when a goroutine has taken the last frame and asks for
// the next one.
func TestBacklog_Emptied(t *testing.T) {
	t.Parallel()
	b := newBacklog(0, 1000, 1)
	<-b.emptied()
	b.push([]byte("a"))
	b.lagging.Store(true)
	empty := b.emptied()
	frame, ok := b.pop()
	assert.True(t, ok)
	assert.Equal(t, "a", string(frame))
	select {
	case <-empty:
		t.Error("the last frame has not been delivered yet")
	default:
	}
	_, ok = b.pop()
	assert.False(t, ok)
	<-empty
	assert.False(t, b.lagging.Load())
}
