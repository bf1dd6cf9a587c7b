package dynamic

import (
	"maps"
	"slices"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/shard"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// pendingTable holds the calls of a conn that are under way, in parts so that callers do not wait for each other.
type pendingTable [shard.Count]struct {
	mu    sync.Mutex
	calls map[id.Call]pendingCall
	_     [shard.CacheLineSize]byte // parts do not share one
}

// pendingCall is a call that waits for what servers send. Its methods are called by the bus: they take it over,
// never block, and report whether they had a use for it.
type pendingCall interface {
	claimed(claim wire.ClaimRequest) bool
	responded(response wire.Response) bool
	// connEnded says that the conn has ended.
	connEnded()
}

func (t *pendingTable) add(callID id.Call, call pendingCall) {
	part := &t[callID.Shard()]
	part.mu.Lock()
	defer part.mu.Unlock()
	if part.calls == nil {
		part.calls = map[id.Call]pendingCall{}
	}
	part.calls[callID] = call
}

func (t *pendingTable) remove(callID id.Call) {
	part := &t[callID.Shard()]
	part.mu.Lock()
	defer part.mu.Unlock()
	delete(part.calls, callID)
}

// give lets the call with this id take something, and reports whether there is one, and whether it had a use for it. A call
// that was removed takes nothing. take must not use the table, of which a part is locked.
func (t *pendingTable) give(requestID []byte, take func(call pendingCall) bool) (found, useful bool) {
	callID, ok := id.ParseCall(requestID)
	if !ok {
		return false, false
	}
	part := &t[callID.Shard()]
	part.mu.Lock()
	defer part.mu.Unlock()
	call := part.calls[callID]
	if call == nil {
		return false, false
	}
	return true, take(call)
}

// end tells all calls that the conn has ended.
func (t *pendingTable) end() {
	for i := range t {
		t[i].mu.Lock()
		calls := slices.Collect(maps.Values(t[i].calls))
		t[i].mu.Unlock()
		for _, call := range calls {
			call.connEnded()
		}
	}
}
