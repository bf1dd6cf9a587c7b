package dynamic

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

// cancelTable maps the requests and stream opens that a service is handling to their contexts, so
// that a frame of the client can cancel them. Only dynpsrpc clients send such frames.
//
// The table is split into shards because every request is added and removed: with a single lock,
// processors that handle requests at the same time would wait for each other. The id of a request
// selects its shard.
type cancelTable [shard.Count]cancelShard

// cancelShard is padded so that no two shards share a cache line.
type cancelShard struct {
	mu       sync.Mutex
	contexts map[id.Call]*lazyctx.Context
	_        [shard.CacheLineSize]byte
}

// add makes ctx cancelable by the id of its request. It does nothing if the id cannot be one of a
// dynpsrpc client, since other clients do not cancel.
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

// remove undoes add. It compares ctx so that it does not remove a later request with the same id.
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
