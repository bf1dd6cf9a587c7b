package call

import (
	"maps"
	"slices"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/shard"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// pendingCalls maps request IDs to the pending calls of an engine. Each call locks it at least
// three times, so it is split into shards, each with its own lock. In a benchmark with 64 calling
// goroutines, calls take 8 to 12 percent longer with a single lock for all calls.
type pendingCalls [shard.Count]struct {
	mu    sync.Mutex
	calls map[id.Call]pendingCall
	// This padding prevents two shards from sharing a cache line.
	_ [shard.CacheLineSize]byte
}

// pendingCall is a call that is waiting for claims and responses. Its methods never block. Bus
// callbacks call onClaim and onResponse, which may keep the message and report whether they have
// used it. If not, the engine counts the message as unmatched.
type pendingCall interface {
	onClaim(claim wire.ClaimRequest) bool
	onResponse(response wire.Response) bool
	// onClosed notifies the call that the engine or the bus has been closed.
	onClosed()
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

// dispatch looks up a pending call by its request ID and passes it to the function handle. found
// reports whether there is such a call, and useful reports whether handle used the message. While
// handle runs, the shard that contains the call is locked, so handle must not access p. Because of
// this lock, no message can reach a call after the method remove has returned.
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

// notifyClosed calls onClosed on every pending call, without holding a lock.
func (p *pendingCalls) notifyClosed() {
	for i := range p {
		p[i].mu.Lock()
		calls := slices.Collect(maps.Values(p[i].calls))
		p[i].mu.Unlock()
		for _, call := range calls {
			call.onClosed()
		}
	}
}
