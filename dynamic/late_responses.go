package dynamic

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
)

// maxLateCalls is how many ended calls are remembered, so that servers which answer late are learned of.
const maxLateCalls = 1024

// lateResponses remembers what the calls that ended last have learned from.
type lateResponses struct {
	mu          sync.Mutex
	memberships map[id.Call]*membership
	order       [maxLateCalls]id.Call // a ring
	oldest      int
}

func (t *lateResponses) add(callID id.Call, r *membership) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.memberships == nil {
		t.memberships = make(map[id.Call]*membership, maxLateCalls)
	}
	delete(t.memberships, t.order[t.oldest])
	t.order[t.oldest], t.memberships[callID] = callID, r
	t.oldest = (t.oldest + 1) % maxLateCalls
}

// onResponse adds a server to those that are waited for, if it answers one of these calls.
func (t *lateResponses) onResponse(requestID, server []byte, subscribers uint32) {
	callID, ok := id.ParseCall(requestID)
	if !ok {
		return
	}
	t.mu.Lock()
	r := t.memberships[callID]
	t.mu.Unlock()
	if r != nil {
		r.add(string(server), weightOf(subscribers))
	}
}
