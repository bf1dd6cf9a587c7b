package dynamic

import (
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/shard"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// cancelTable are those that a service is handling, so that their clients can cancel them. They are in parts so that
// handlers do not wait for each other.
type cancelTable [shard.Count]struct {
	mu       sync.Mutex
	contexts map[id.Call]*lazyContext
	_        [shard.CacheLineSize]byte // parts do not share one
}

// add does nothing for an id that is none of ours: its client knows no cancel.
func (a *cancelTable) add(requestID []byte, ctx *lazyContext) {
	callID, ok := id.ParseCall(requestID)
	if !ok {
		return
	}
	part := &a[callID.Shard()]
	part.mu.Lock()
	defer part.mu.Unlock()
	if part.contexts == nil {
		part.contexts = map[id.Call]*lazyContext{}
	}
	part.contexts[callID] = ctx
}

func (a *cancelTable) remove(requestID []byte, ctx *lazyContext) {
	callID, ok := id.ParseCall(requestID)
	if !ok {
		return
	}
	part := &a[callID.Shard()]
	part.mu.Lock()
	defer part.mu.Unlock()
	if part.contexts[callID] == ctx { // and not a later request with the same id
		delete(part.contexts, callID)
	}
}

func (a *cancelTable) cancel(requestID []byte) {
	callID, ok := id.ParseCall(requestID)
	if !ok {
		return
	}
	part := &a[callID.Shard()]
	part.mu.Lock()
	ctx := part.contexts[callID]
	part.mu.Unlock()
	if ctx != nil {
		ctx.cancel()
	}
}

// onCancel takes a frame from the bus; it never blocks.
func (r *Registration) onCancel(frame []byte) {
	value, ok := decodeFrame(frame, wire.KindCancel, r.server.options.maxFrameSize)
	cancel, err := wire.ParseCancel(value)
	if !ok || err != nil {
		r.server.stats.badFrames.Add(1)
		return
	}
	r.running.cancel(cancel.RequestID)
}

// semaphore bounds how many run at the same time.
type semaphore struct {
	max     int64 // 0: no limit
	running atomic.Int64
}

// tryAcquire reports whether there is room; whoever entered must leave.
func (l *semaphore) tryAcquire() bool {
	if l.max == 0 || l.running.Add(1) <= l.max {
		return true
	}
	l.running.Add(-1)
	return false
}

// full tells whether there is no room at the moment.
func (l *semaphore) full() bool { return l.max != 0 && l.running.Load() >= l.max }

func (l *semaphore) release() {
	if l.max != 0 {
		l.running.Add(-1)
	}
}
