package shard

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

const (
	// Count is the number of shards. If there are more than Count CPUs, some of them share a shard.
	Count = 16
	// CacheLineSize is the size of a cache line in bytes. If shards are padded by at least this
	// size, different CPUs can write to different shards without slowing each other down.
	CacheLineSize = 64
)

var (
	// offset is random so that different processes start with different shards. The ID of a request
	// or stream contains the index of a shard, and every peer that receives the ID uses the shard
	// with this index. If all clients started with the same shards, their requests would contend
	// for these shards on a server.
	offset = rand.Uint32() //nolint:gosec // the offset need not be secret
	next   atomic.Uint32

	// slots stores one index for each CPU. Go has no CPU-local variables, but a sync.Pool has a
	// cache for each CPU: Get returns the item that Put most recently stored on the same CPU, if
	// there is one.
	slots = sync.Pool{New: func() any {
		slot := int((offset + next.Add(1)) % Count)
		return &slot
	}}
)

// Current returns the index of the shard that the caller should use. The index is less than
// [Count]. It is usually the same for all calls on one CPU and different on other CPUs, but this is
// not guaranteed.
func Current() int {
	slot := slots.Get().(*int)
	current := *slot
	slots.Put(slot)
	return current
}
