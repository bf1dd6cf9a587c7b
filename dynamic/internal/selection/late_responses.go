package selection

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
)

// maxLateCalls is the number of ended calls for which late answers are still recognised.
const maxLateCalls = 1024

// LateResponses maps the calls that ended last to their memberships, so that a server which answers
// after the end of its call becomes a member and is waited for in the next one. The zero value is
// ready to use. All methods may be called from many goroutines.
type LateResponses struct {
	mu          sync.Mutex
	memberships map[id.Call]*Membership
	calls       [maxLateCalls]id.Call // ring buffer, oldest call at index oldest
	oldest      int
}

// Add remembers a call that has ended, in place of the oldest one.
func (l *LateResponses) Add(callID id.Call, membership *Membership) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.memberships == nil {
		l.memberships = make(map[id.Call]*Membership, maxLateCalls)
	}
	delete(l.memberships, l.calls[l.oldest])
	l.calls[l.oldest], l.memberships[callID] = callID, membership
	l.oldest = (l.oldest + 1) % maxLateCalls
}

// OnResponse adds a server to the membership of the call that it answers, if that call ended lately.
func (l *LateResponses) OnResponse(requestID, server []byte, subscribers uint32) {
	callID, ok := id.ParseCall(requestID)
	if !ok {
		return
	}
	l.mu.Lock()
	membership := l.memberships[callID]
	l.mu.Unlock()
	if membership != nil {
		membership.add(string(server), WeightOf(subscribers))
	}
}
