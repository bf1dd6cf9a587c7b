package dedup

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

const (
	// minSlotBits and maxSlotBits are the base-2 logarithms of the initial and the maximum number
	// of slots in a shard. Each ID selects the shard of the CPU on which it was created, so the
	// frames of a peer with few CPUs use only a few shards. Each shard must therefore have room for
	// many frames.
	minSlotBits, maxSlotBits = 4, 11
	// window is how long a frame is remembered. The lock that a psrpc server takes on Redis for a
	// request has the same lifetime.
	window = 5 * time.Second
)

// Cache is a bounded set of recently received frames. The zero value is empty. All methods are safe
// for concurrent use. Each shard has its own lock.
//
// A shard uses no memory until the first frame is added to it, and at most 80 KB (2048 entries).
type Cache [shard.Count]struct {
	table

	_ [shard.CacheLineSize]byte // keeps different shards in different cache lines
}

// table is a hash table without collision lists. If the slot of a new frame contains a frame that
// is still needed, the table doubles its size. A table of the maximum size replaces that frame.
type table struct {
	mu sync.Mutex
	// slots is nil until the first frame is added.
	slots []entry
	// bits is the base-2 logarithm of the length of slots.
	bits int
}

// key identifies a frame. A peer never sends two requests, or two messages on the same stream, with
// the same ID and time.
type key struct {
	id     id.Call
	sentAt int64  // Unix time in nanoseconds on the sender's clock
	stream uint64 // identifies the stream of a message; zero if the frame is a request
}

// entry is a frame together with the time of its first arrival. It contains no pointers, so the
// garbage collector does not scan the table.
type entry struct {
	key

	receivedAt int64 // Unix time in nanoseconds
}

// Seen adds a frame to the cache and reports whether the same frame had already been added within
// the last 5 seconds. requestID and sentAt are the values in the frame. If the frame is a message
// of a stream, streamKey must be a number that identifies the stream. For a request, including one
// that opens a stream, streamKey must be zero.
//
// Seen returns false for frames that it cannot identify. These are frames without a time and frames
// whose ID does not have the form used by this library and psrpc.
func (c *Cache) Seen(streamKey uint64, requestID []byte, sentAt int64, now time.Time) bool {
	callID, ok := id.ParseCall(requestID)
	if !ok || sentAt == 0 {
		return false
	}
	frame := entry{key{callID, sentAt, streamKey}, now.UnixNano()}
	t := &c[callID.Shard()].table
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.slots == nil {
		t.resize(minSlotBits, frame.receivedAt)
	}
	for {
		slot := &t.slots[t.index(&frame.key)]
		isRecent := frame.receivedAt-slot.receivedAt < int64(window)
		if isRecent && slot.key == frame.key {
			return true
		}
		if !isRecent || t.bits == maxSlotBits {
			*slot = frame
			return false
		}
		t.resize(t.bits+1, frame.receivedAt)
	}
}

// index returns the index of the slot for a frame. This is Fibonacci hashing: multiplying by 2^64
// divided by the golden ratio spreads all bits of the ID into the upper bits of the product, which
// select the slot.
func (t *table) index(k *key) uint64 {
	const multiplier = 0x9e3779b97f4a7c15
	return ((binary.LittleEndian.Uint64(k.id[8:]) ^ k.stream) * multiplier) >> (64 - t.bits)
}

// resize gives the table a new, larger number of slots, and keeps the frames that are still needed.
// In a larger table, different frames never share a slot if they did not share one before.
func (t *table) resize(bits int, now int64) {
	old := t.slots
	t.slots, t.bits = make([]entry, 1<<bits), bits
	for _, e := range old {
		if now-e.receivedAt < int64(window) {
			t.slots[t.index(&e.key)] = e
		}
	}
}
