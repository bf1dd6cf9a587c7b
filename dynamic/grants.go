package dynamic

import (
	"bytes"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// grantTable holds the requests that a server has claimed and that wait for their client's choice.
type grantTable struct {
	mu      sync.Mutex
	waiting map[string]chan bool // by request id; room for one
}

// expect returns a channel on which the client's choice arrives: whether it is this server. Of two requests with
// one id the later one is served, as psrpc does.
func (t *grantTable) expect(requestID []byte) chan bool {
	grant := make(chan bool, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting == nil {
		t.waiting = map[string]chan bool{}
	}
	t.waiting[string(requestID)] = grant
	return grant
}

func (t *grantTable) forget(requestID []byte, grant chan bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting[string(requestID)] == grant {
		delete(t.waiting, string(requestID))
	}
}

// decide delivers a choice. The first one counts; who is not waiting hears nothing.
func (t *grantTable) decide(requestID []byte, granted bool) {
	t.mu.Lock()
	grant := t.waiting[string(requestID)]
	delete(t.waiting, string(requestID))
	t.mu.Unlock()
	if grant != nil {
		grant <- granted // taken out of the table: nobody else sends, there is room
	}
}

// onGrant takes a frame from the bus; it never blocks.
func (s *Server) onGrant(frame []byte) {
	envelope, err := wire.ParseEnvelope(frame)
	if err != nil || envelope.Kind != wire.KindClaimResponse {
		s.stats.badFrames.Add(1)
		return
	}
	choice, err := wire.ParseClaimResponse(envelope.Value)
	if err != nil {
		s.stats.badFrames.Add(1)
		return
	}
	s.grants.decide(choice.RequestID, bytes.Equal(choice.ServerID, s.wireID))
}
