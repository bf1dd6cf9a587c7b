package dynamic

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// maxPeers and maxPeerID bound the memory that a service spends on the clients it has answered.
const (
	maxPeers  = 10_000
	maxPeerID = 256 // bytes; a longer id is not remembered
)

// peer is one client of a service: its id and channels, which are immutable, and its clock.
type peer struct {
	id                string
	claims, responses bus.Channel
	clock             peerClock
}

// peerTable remembers clients, so that an answer does not have to spell out its channel each time.
type peerTable struct {
	service string // wire name

	byID sync.Map // *peer by id, read without a lock
	mu   sync.Mutex
	size int // of byID; whoever adds holds mu
}

func (t *peerTable) get(clientID []byte) *peer {
	if known, ok := t.byID.Load(string(clientID)); ok {
		return known.(*peer)
	}
	id := string(clientID)
	made := &peer{
		id:        id,
		claims:    bus.Channel(wire.ClaimRequestChannel(t.service, id)),
		responses: bus.Channel(wire.ResponseChannel(t.service, id)),
	}
	if len(id) > maxPeerID {
		return made
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.size >= maxPeers { // rare enough to begin anew
		t.byID.Clear()
		t.size = 0
	}
	known, loaded := t.byID.LoadOrStore(id, made)
	if !loaded {
		t.size++
	}
	return known.(*peer)
}
