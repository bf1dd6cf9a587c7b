package dynamic

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
)

// maxLate is how many ended calls are remembered, so that servers which answer late are learned of.
const maxLate = 1024

// lateTable remembers what the calls that ended last have learned from.
type lateTable struct {
	mu      sync.Mutex
	rosters map[id.Call]*roster
	order   [maxLate]id.Call // a ring
	next    int
}

func (t *lateTable) add(callID id.Call, r *roster) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rosters == nil {
		t.rosters = make(map[id.Call]*roster, maxLate)
	}
	delete(t.rosters, t.order[t.next])
	t.order[t.next], t.rosters[callID] = callID, r
	t.next = (t.next + 1) % maxLate
}

// answered adds a server to those that are waited for, if it answers one of these calls.
func (t *lateTable) answered(requestID, server []byte, sharers uint32) {
	callID, ok := id.ParseCall(requestID)
	if !ok {
		return
	}
	t.mu.Lock()
	r := t.rosters[callID]
	t.mu.Unlock()
	if r != nil {
		r.add(string(server), shareOf(sharers))
	}
}
