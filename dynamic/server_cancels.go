package dynamic

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

// cancelTable are those that a service is handling, so that their clients can cancel them. They are in parts so that
// handlers do not wait for each other.
type cancelTable [shard.Count]struct {
	mu       sync.Mutex
	contexts map[id.Call]*lazyctx.Context
	_        [shard.CacheLineSize]byte // parts do not share one
}

// add does nothing for an id that is none of ours: its client knows no cancel.
func (a *cancelTable) add(requestID []byte, ctx *lazyctx.Context) {
	callID, ok := id.ParseCall(requestID)
	if !ok {
		return
	}
	part := &a[callID.Shard()]
	part.mu.Lock()
	defer part.mu.Unlock()
	if part.contexts == nil {
		part.contexts = map[id.Call]*lazyctx.Context{}
	}
	part.contexts[callID] = ctx
}

func (a *cancelTable) remove(requestID []byte, ctx *lazyctx.Context) {
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
		ctx.Cancel()
	}
}
