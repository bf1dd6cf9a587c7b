package dynamic

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

// cancelTable holds the contexts of the requests that a service is currently handling, keyed by
// request ID. This includes requests to open a stream. To cancel a request, a client sends a cancel
// frame with the request ID. Only dynpsrpc clients send such frames.
//
// The table is split into shards, because an entry is added and removed for every request. With a
// single lock, goroutines that handle requests at the same time would wait for each other. The ID
// of a request determines its shard.
type cancelTable [shard.Count]cancelShard

// cancelShard is one shard of a cancelTable. It is padded so that no two shards share a cache line.
type cancelShard struct {
	mu       sync.Mutex
	contexts map[id.Call]*lazyctx.Context
	_        [shard.CacheLineSize]byte
}

// add adds a request, so that the client can cancel ctx by sending a cancel frame with the request
// ID. If requestID does not have the format of dynpsrpc's IDs, add does nothing, because only
// dynpsrpc clients send cancel frames.
func (t *cancelTable) add(requestID []byte, ctx *lazyctx.Context) {
	callID, ok := id.ParseCall(requestID)
	if !ok {
		return
	}
	s := &t[callID.Shard()]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.contexts == nil {
		s.contexts = map[id.Call]*lazyctx.Context{}
	}
	s.contexts[callID] = ctx
}

// remove undoes add. It removes the entry only if its context is ctx, so that a later request with
// the same ID is not affected.
func (t *cancelTable) remove(requestID []byte, ctx *lazyctx.Context) {
	callID, ok := id.ParseCall(requestID)
	if !ok {
		return
	}
	s := &t[callID.Shard()]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.contexts[callID] == ctx {
		delete(s.contexts, callID)
	}
}

// cancel cancels the context of a request. It does nothing if the request is unknown or has ended.
func (t *cancelTable) cancel(requestID []byte) {
	callID, ok := id.ParseCall(requestID)
	if !ok {
		return
	}
	s := &t[callID.Shard()]
	s.mu.Lock()
	ctx := s.contexts[callID]
	s.mu.Unlock()
	if ctx != nil {
		ctx.Cancel()
	}
}
