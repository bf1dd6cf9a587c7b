package dedup

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

func TestRecentFrames_Repeats(t *testing.T) {
	t.Parallel()
	var recent Cache
	now := time.Now()
	first, second := id.NewRequest(), id.NewRequest()
	assert.False(t, recent.Seen(0, first[:], 1, now))
	assert.True(t, recent.Seen(0, first[:], 1, now))
	assert.False(t, recent.Seen(0, second[:], 1, now), "another id")
	assert.False(t, recent.Seen(0, first[:], 2, now), "another time")
	assert.True(t, recent.Seen(0, first[:], 2, now))
	assert.False(t, recent.Seen(7, first[:], 2, now), "of a stream")
	assert.False(t, recent.Seen(8, first[:], 2, now), "of another stream")
	assert.True(t, recent.Seen(8, first[:], 2, now))
}

func TestRecentFrames_Window(t *testing.T) {
	t.Parallel()
	var recent Cache
	request, now := id.NewRequest(), time.Now()
	assert.False(t, recent.Seen(0, request[:], 1, now))
	assert.True(t, recent.Seen(0, request[:], 1, now.Add(window-1)))
	assert.False(t, recent.Seen(0, request[:], 1, now.Add(window)), "as long after the first one")
	assert.True(t, recent.Seen(0, request[:], 1, now.Add(window)))
}

func TestRecentFrames_CannotTell(t *testing.T) {
	t.Parallel()
	var recent Cache
	now := time.Now()
	ours := id.NewRequest()
	for range 2 {
		assert.False(t, recent.Seen(0, ours[:], 0, now), "no time")
		assert.False(t, recent.Seen(0, []byte("any other id"), 1, now))
		assert.False(t, recent.Seen(0, nil, 1, now))
	}
}

// TestRecentFrames_Bounded: most of the last frames are remembered, and no more than there are slots.
func TestRecentFrames_Bounded(t *testing.T) {
	t.Parallel()
	var recent Cache
	now := time.Now()
	const room = shard.Count << slotBits
	ids := make([]id.Call, 3*room)
	for i := range ids {
		ids[i] = id.NewRequest()
		ids[i][len(ids[i])-1] = 'a' + byte(i%shard.Count) // as clients on other processors make them
		assert.False(t, recent.Seen(0, ids[i][:], 1, now))
	}
	for i := range recent {
		assert.Len(t, recent[i].slots, 1<<slotBits)
	}
	remembered := 0
	for _, last := range ids[len(ids)-room/8:] {
		if recent.Seen(0, last[:], 1, now) {
			remembered++
		}
	}
	assert.Greater(t, remembered, 1<<slotBits/8*8/10)
}

func TestRecentFrames_DoNotAllocate(t *testing.T) {
	var recent Cache
	now := time.Now()
	request := id.NewRequest()
	recent.Seen(0, request[:], 1, now)
	sentAt := int64(1)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		sentAt++
		recent.Seen(0, request[:], sentAt, now)
	}))
}

func BenchmarkRecentFrames(b *testing.B) {
	var recent Cache
	now := time.Now()
	ids := make([]id.Call, 1<<16)
	for i := range ids {
		ids[i] = id.NewRequest()
	}
	for i := 0; b.Loop(); i++ {
		recent.Seen(0, ids[i%len(ids)][:], int64(i)+1, now)
	}
}
