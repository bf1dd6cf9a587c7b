package dynamic

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// pendingTable holds the calls of a conn that are under way.
type pendingTable struct {
	mu    sync.RWMutex
	calls map[id.Call]pendingCall
}

// pendingCall is a call that waits for what servers send. Its methods are called by the bus: they take it over,
// never block, and report whether they had a use for it.
type pendingCall interface {
	claimed(claim wire.ClaimRequest) bool
	responded(response wire.Response) bool
}

func (t *pendingTable) add(callID id.Call, call pendingCall) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.calls == nil {
		t.calls = map[id.Call]pendingCall{}
	}
	t.calls[callID] = call
}

func (t *pendingTable) remove(callID id.Call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.calls, callID)
}

// find returns nil if there is no such call.
func (t *pendingTable) find(requestID []byte) pendingCall {
	callID, ok := id.ParseCall(requestID)
	if !ok {
		return nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.calls[callID]
}
