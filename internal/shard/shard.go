package shard

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

const (
	// Count is the number of shards. Processors share shards if there are more than Count of them.
	Count = 16
	// CacheLineSize is the size of a cache line in bytes. Shards that are padded to at least this
	// size are written by different processors without slowing each other down.
	CacheLineSize = 64
)

var (
	// offset is random, so that processes do not all start with the same shard of things that they
	// address by shard on the bus.
	offset = rand.Uint32() //nolint:gosec // not a secret
	next   atomic.Uint32

	// slots uses the per-processor cache of a sync.Pool as storage local to a processor, which Go
	// does not offer otherwise: Get returns the item that the same processor has Put before, if it
	// has one.
	slots = sync.Pool{New: func() any {
		slot := int((offset + next.Add(1)) % Count)
		return &slot
	}}
)

// Current returns the index, less than [Count], of the shard that the caller should use. The index
// is a hint: it is usually the same for all calls on one processor and differs between processors.
func Current() int {
	slot := slots.Get().(*int)
	current := *slot
	slots.Put(slot)
	return current
}
