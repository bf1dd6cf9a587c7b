package dynamic

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

const (
	// recentBits is the binary logarithm of how many frames each part of the table remembers. A peer uses as many parts as
	// it has processors.
	recentBits = 11
	// recentWindow is for how long; psrpc's servers on Redis do not run the same request again for as long.
	recentWindow = 5 * time.Second
)

// recentFrames are the requests that a server ran lately without having been chosen for them, and the messages of streams
// that came lately. A bus may deliver a frame twice, where a broker's client tried again, or where a channel moved from
// one node to another; that must not run a handler twice, nor let a stream's reader read twice. A request that has to be
// granted needs no such care: its client grants it once.
type recentFrames [shard.Count]struct {
	mu sync.Mutex
	// slots hold one frame each, at a place that depends on its id; nil until the first one. A frame is forgotten when
	// another one needs its slot.
	slots []recentSlot
	_     [shard.Line]byte // parts do not share one
}

// recentFrame tells a frame apart: no peer sends two with one id at the same time.
type recentFrame struct {
	id     id.Call
	sentAt int64
}

// recentSlot is a frame and when it came first. It holds no pointer, so that the garbage collector passes it by.
type recentSlot struct {
	recentFrame

	came int64 // Unix time in nanoseconds
}

// repeats remembers a frame, and reports whether it came before. It never does for one whose id is none of ours or
// that does not say when it was sent.
func (t *recentFrames) repeats(requestID []byte, sentAt int64, now time.Time) bool {
	callID, ok := id.ParseCall(requestID)
	if !ok || sentAt == 0 {
		return false
	}
	const spread = 0x9e3779b97f4a7c15 // 2^64 by the golden ratio: mixes all bits into the upper ones
	place := (binary.LittleEndian.Uint64(callID[8:]) * spread) >> (64 - recentBits)
	frame := recentFrame{callID, sentAt}
	part := &t[callID.Shard()]
	part.mu.Lock()
	defer part.mu.Unlock()
	if part.slots == nil {
		part.slots = make([]recentSlot, 1<<recentBits)
	}
	slot := &part.slots[place]
	if slot.recentFrame == frame && now.UnixNano()-slot.came < int64(recentWindow) {
		return true
	}
	*slot = recentSlot{frame, now.UnixNano()}
	return false
}
