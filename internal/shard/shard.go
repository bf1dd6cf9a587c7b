package shard

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

const (
	// Count is the number of shards. If there are more than Count processors, some of them share a
	// shard.
	Count = 16
	// CacheLineSize is the size of a cache line in bytes. Different processors can write to shards
	// that are padded by at least this size without slowing each other down.
	CacheLineSize = 64
)

var (
	// offset is random so that processes do not all start with the same shard. This matters because
	// request and stream IDs contain the shard index. The peers that receive an ID use that index
	// to choose a shard of their own tables.
	offset = rand.Uint32() //nolint:gosec // the offset need not be secret
	next   atomic.Uint32

	// slots uses the per-processor cache of a sync.Pool as processor-local storage, which Go does
	// not offer otherwise: Get returns the item most recently stored by Put on the same processor,
	// if there is one.
	slots = sync.Pool{New: func() any {
		slot := int((offset + next.Add(1)) % Count)
		return &slot
	}}
)

// Current returns the index of the shard that the caller should use. The index is less than
// [Count]. It is only a hint: it is usually the same for all calls on one processor and different
// on other processors.
func Current() int {
	slot := slots.Get().(*int)
	current := *slot
	slots.Put(slot)
	return current
}
