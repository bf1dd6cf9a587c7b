package dedup

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

func TestCache_Seen(t *testing.T) {
	t.Parallel()
	var cache Cache
	now := time.Now()
	first, second := id.NewRequest(), id.NewRequest()
	assert.False(t, cache.Seen(0, first[:], 1, now))
	assert.True(t, cache.Seen(0, first[:], 1, now))
	assert.False(t, cache.Seen(0, second[:], 1, now), "another id")
	assert.False(t, cache.Seen(0, first[:], 2, now), "another time")
	assert.True(t, cache.Seen(0, first[:], 2, now))
	assert.False(t, cache.Seen(7, first[:], 2, now), "a message of a stream")
	assert.False(t, cache.Seen(8, first[:], 2, now), "a message of another stream")
	assert.True(t, cache.Seen(8, first[:], 2, now))
}

func TestCache_Window(t *testing.T) {
	t.Parallel()
	var cache Cache
	request, now := id.NewRequest(), time.Now()
	assert.False(t, cache.Seen(0, request[:], 1, now))
	assert.True(t, cache.Seen(0, request[:], 1, now.Add(window-1)))
	assert.False(t, cache.Seen(0, request[:], 1, now.Add(window)), "the window has passed since the first arrival")
	assert.True(t, cache.Seen(0, request[:], 1, now.Add(window)))
}

func TestCache_UnidentifiableFrames(t *testing.T) {
	t.Parallel()
	var cache Cache
	now := time.Now()
	request := id.NewRequest()
	for range 2 {
		assert.False(t, cache.Seen(0, request[:], 0, now), "without a time")
		assert.False(t, cache.Seen(0, []byte("an id of another form"), 1, now))
		assert.False(t, cache.Seen(0, nil, 1, now))
	}
}

// The cache must remember most of the latest frames without growing.
func TestCache_Bounded(t *testing.T) {
	t.Parallel()
	var cache Cache
	now := time.Now()
	const capacity = shard.Count << maxSlotBits
	ids := make([]id.Call, 3*capacity)
	for i := range ids {
		ids[i] = id.NewRequest()
		// The last character of an ID selects the shard.
		ids[i][len(ids[i])-1] = 'a' + byte(i%shard.Count)
		assert.False(t, cache.Seen(0, ids[i][:], 1, now))
	}
	for i := range cache {
		assert.Len(t, cache[i].slots, 1<<maxSlotBits)
	}
	remembered := 0
	for _, last := range ids[len(ids)-capacity/8:] {
		if cache.Seen(0, last[:], 1, now) {
			remembered++
		}
	}
	assert.Greater(t, remembered, 1<<maxSlotBits/8*8/10)
}

// A table must grow before it forgets recent frames, and reuse the slots of old ones.
func TestCache_Grows(t *testing.T) {
	t.Parallel()
	var cache Cache
	now := time.Now()
	add := func(n int) (ids []id.Call) {
		for range n {
			request := id.NewRequest()
			request[len(request)-1] = 'a'
			assert.False(t, cache.Seen(0, request[:], 1, now))
			ids = append(ids, request)
		}
		return ids
	}
	shardOfA := &cache[add(1)[0].Shard()]
	assert.Len(t, shardOfA.slots, 1<<minSlotBits)
	for range 100 {
		now = now.Add(window)
		add(1)
	}
	assert.Len(t, shardOfA.slots, 1<<minSlotBits, "old frames are replaced")
	remembered := 0
	for _, request := range add(30) {
		if cache.Seen(0, request[:], 1, now) {
			remembered++
		}
	}
	assert.GreaterOrEqual(t, remembered, 20, "frames may still collide in the largest table")
	assert.Greater(t, len(shardOfA.slots), 1<<minSlotBits)
}

func TestCache_DoesNotAllocate(t *testing.T) {
	var cache Cache
	now := time.Now()
	request := id.NewRequest()
	cache.Seen(0, request[:], 1, now)
	sentAt := int64(1)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		sentAt++
		cache.Seen(0, request[:], sentAt, now)
	}))
}

func BenchmarkCache_Seen(b *testing.B) {
	var cache Cache
	now := time.Now()
	ids := make([]id.Call, 1<<16)
	for i := range ids {
		ids[i] = id.NewRequest()
	}
	for i := 0; b.Loop(); i++ {
		cache.Seen(0, ids[i%len(ids)][:], int64(i)+1, now)
	}
}
