package dynamic

import (
	"maps"
	"slices"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/shard"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// pendingCalls holds the calls of a conn that are under way, in parts so that callers do not wait for each other.
type pendingCalls [shard.Count]struct {
	mu    sync.Mutex
	calls map[id.Call]pendingCall
	_     [shard.CacheLineSize]byte // parts do not share one
}

// pendingCall is a call that waits for what servers send. Its methods are called by the bus: they take it over,
// never block, and report whether they had a use for it.
type pendingCall interface {
	onClaim(claim wire.ClaimRequest) bool
	onResponse(response wire.Response) bool
	// onConnClosed says that the conn has ended.
	onConnClosed()
}

func (p *pendingCalls) add(callID id.Call, call pendingCall) {
	table := &p[callID.Shard()]
	table.mu.Lock()
	defer table.mu.Unlock()
	if table.calls == nil {
		table.calls = map[id.Call]pendingCall{}
	}
	table.calls[callID] = call
}

func (p *pendingCalls) remove(callID id.Call) {
	table := &p[callID.Shard()]
	table.mu.Lock()
	defer table.mu.Unlock()
	delete(table.calls, callID)
}

// dispatch lets the call with this id take something, and reports whether there is one, and whether it had a use for it. A call
// that was removed takes nothing. take must not use the table, of which a part is locked.
func (p *pendingCalls) dispatch(requestID []byte, handle func(call pendingCall) bool) (found, useful bool) {
	callID, ok := id.ParseCall(requestID)
	if !ok {
		return false, false
	}
	table := &p[callID.Shard()]
	table.mu.Lock()
	defer table.mu.Unlock()
	call := table.calls[callID]
	if call == nil {
		return false, false
	}
	return true, handle(call)
}

// notifyConnClosed tells all calls that the conn has ended.
func (p *pendingCalls) notifyConnClosed() {
	for i := range p {
		p[i].mu.Lock()
		calls := slices.Collect(maps.Values(p[i].calls))
		p[i].mu.Unlock()
		for _, call := range calls {
			call.onConnClosed()
		}
	}
}
