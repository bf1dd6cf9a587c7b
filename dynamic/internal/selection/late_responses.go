package selection

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
)

// maxLateCalls is the number of ended calls for which late answers are still recognized.
const maxLateCalls = 1024

// LateResponses remembers which [Membership] each recently ended call has used. A server that
// answers after the call has ended can therefore still be added to that Membership. The next call
// then waits for that server. The zero value is ready to use. All methods are safe for concurrent
// use.
type LateResponses struct {
	mu          sync.Mutex
	memberships map[id.Call]*Membership
	// calls is a ring buffer. The oldest call is at index oldest.
	calls  [maxLateCalls]id.Call
	oldest int
}

// Add records a call that has ended. Once maxLateCalls calls have been recorded, each new call
// replaces the oldest one.
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

// OnResponse handles an answer that arrives after its call has ended. If the call ended recently,
// OnResponse adds the server to the membership that the call used.
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
