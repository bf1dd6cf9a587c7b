package dedup

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

const (
	// slotBits is the binary logarithm of the number of slots of a shard. The ids of one peer use
	// as many shards as the peer has processors.
	slotBits = 11
	// window is the time for which a frame is remembered. psrpc's lock for a request on Redis has
	// the same lifetime.
	window = 5 * time.Second
)

// Cache is a set of recently received frames of fixed size. The zero value is empty. All methods
// may be called concurrently; frames of different shards do not contend.
//
// A Cache takes no memory for a shard before its first frame, and then 2048 entries (80 KB).
type Cache [shard.Count]struct {
	mu sync.Mutex
	// slots is a hash table without collision lists: a frame replaces the one that was in its slot.
	// It is nil before the first frame.
	slots []entry
	_     [shard.CacheLineSize]byte // keeps shards on different cache lines
}

// key identifies a frame. A peer never sends two requests, or two messages of one stream, with the
// same id and time.
type key struct {
	id     id.Call
	sentAt int64  // Unix time in nanoseconds by the sender's clock
	stream uint64 // identifies the stream of a message; zero for a request or an opening
}

// entry is a frame and the time of its first arrival. It contains no pointers, so the garbage
// collector does not scan the table.
type entry struct {
	key

	receivedAt int64 // Unix time in nanoseconds
}

// Seen adds a frame and reports whether the same frame was added within the last 5 seconds. stream
// identifies the stream of a message in this process, and is zero for requests and openings of
// streams; requestID and sentAt are those of the frame.
//
// Seen returns false for frames that it cannot identify: frames without a time, and frames whose id
// does not have the form that this library and psrpc create.
func (c *Cache) Seen(stream uint64, requestID []byte, sentAt int64, now time.Time) bool {
	callID, ok := id.ParseCall(requestID)
	if !ok || sentAt == 0 {
		return false
	}
	// Fibonacci hashing: multiplying by 2^64 divided by the golden ratio spreads all bits of the id
	// into the upper ones, which select the slot.
	const multiplier = 0x9e3779b97f4a7c15
	index := ((binary.LittleEndian.Uint64(callID[8:]) ^ stream) * multiplier) >> (64 - slotBits)
	frame := key{callID, sentAt, stream}
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
