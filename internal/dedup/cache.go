package dedup

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

const (
	// slotBits is the binary logarithm of how many frames each part of the table remembers. A peer uses as many parts as
	// it has processors.
	slotBits = 11
	// window is for how long; psrpc's servers on Redis do not run the same request again for as long.
	window = 5 * time.Second
)

// Cache are frames that came lately: the requests and openings that a server took without having been chosen for
// them, or the messages of streams. A bus may deliver a frame twice, where a broker's client tried again, or where a
// channel moved from one node to another; that must not run a handler twice, nor let a stream's reader read twice. A
// request that has to be granted needs no such care: its client grants it once.
type Cache [shard.Count]struct {
	mu sync.Mutex
	// slots hold one frame each, at a place that depends on its id; nil until the first one. A frame is forgotten when
	// another one needs its slot.
	slots []entry
	_     [shard.CacheLineSize]byte // parts do not share one
}

// key tells a frame apart: no peer sends two with one id at the same time, or in one stream if it is a message.
type key struct {
	id     id.Call
	sentAt int64
	stream uint64 // the number of a message's stream, else 0
}

// entry is a frame and when it came first. It holds no pointer, so that the garbage collector passes it by.
type entry struct {
	key

	receivedAt int64 // Unix time in nanoseconds
}

// Seen remembers a frame, and reports whether it came before. It never does for one whose id is none of ours or
// that does not say when it was sent. stream is the number of a message's stream, else 0.
func (t *Cache) Seen(stream uint64, requestID []byte, sentAt int64, now time.Time) bool {
	callID, ok := id.ParseCall(requestID)
	if !ok || sentAt == 0 {
		return false
	}
	const spread = 0x9e3779b97f4a7c15 // 2^64 by the golden ratio: mixes all bits into the upper ones
	token := ((binary.LittleEndian.Uint64(callID[8:]) ^ stream) * spread) >> (64 - slotBits)
	frame := key{callID, sentAt, stream}
	part := &t[callID.Shard()]
	part.mu.Lock()
	defer part.mu.Unlock()
	if part.slots == nil {
		part.slots = make([]entry, 1<<slotBits)
	}
	known := &part.slots[token]
	if known.key == frame && now.UnixNano()-known.receivedAt < int64(window) {
		return true
	}
	*known = entry{frame, now.UnixNano()}
	return false
}
