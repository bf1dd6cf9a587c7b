package shard

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

const (
	// Count is how many parts there are. More processors than that share some.
	Count = 16
	// CacheLineSize is the size, in bytes, of what processors share. Parts that are at least so far apart are not shared.
	CacheLineSize = 64
)

var (
	offset = rand.Uint32() //nolint:gosec // so that processes do not all use the same parts of what is shared by name
	next   atomic.Uint32
	slots  = sync.Pool{New: func() any {
		place := int((offset + next.Add(1)) % Count)
		return &place
	}}
)

// Current returns which part, less than [Count], the processor should use on which the caller runs. It is a hint: most often
// the same on one processor, and another one on others.
func Current() int {
	slot := slots.Get().(*int) // what a pool gives is the processor's own, if that has put something there
	current := *slot
	slots.Put(slot)
	return current
}
