package dedup

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

const (
	// slotBits is the base-2 logarithm of the number of slots in a shard. Each ID selects the shard
	// of the CPU on which it was created, so the frames of a peer with few CPUs use only a few
	// shards. Each shard must therefore have room for many frames.
	slotBits = 11
	// window is how long a frame is remembered. The lock that a psrpc server takes on Redis for a
	// request has the same lifetime.
	window = 5 * time.Second
)

// Cache is a fixed-size set of recently received frames. The zero value is empty. All methods are
// safe for concurrent use. Each shard has its own lock.
//
// The memory of a shard (2048 entries, 80 KB) is allocated when the first frame is added to it.
type Cache [shard.Count]struct {
	mu sync.Mutex
	// slots is a hash table without collision lists: a new frame replaces the frame in its slot. It
	// is nil until the first frame is added.
	slots []entry
	_     [shard.CacheLineSize]byte // keeps different shards in different cache lines
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
	// This is Fibonacci hashing: multiplying by 2^64 divided by the golden ratio spreads all bits
	// of the ID into the upper bits of the product, which select the slot.
	const multiplier = 0x9e3779b97f4a7c15
	index := ((binary.LittleEndian.Uint64(callID[8:]) ^ streamKey) * multiplier) >> (64 - slotBits)
	frame := key{callID, sentAt, streamKey}
	s := &c[callID.Shard()]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots == nil {
		s.slots = make([]entry, 1<<slotBits)
	}
	slot := &s.slots[index]
	if slot.key == frame && now.UnixNano()-slot.receivedAt < int64(window) {
		return true
	}
	*slot = entry{frame, now.UnixNano()}
	return false
}
