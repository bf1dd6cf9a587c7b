package dynamic

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/clockskew"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// maxClients and maxClientIDLength bound the memory that a service spends on the clients it has answered.
const (
	maxClients        = 10_000
	maxClientIDLength = 256 // bytes; a longer id is not remembered
)

// clientEntry is one client of a service: its id and channels, which are immutable, and its clock.
type clientEntry struct {
	id                string
	claims, responses bus.Channel
	clock             clockskew.Offset
}

// clientCache remembers clients, so that an answer does not have to spell out its channel each time.
type clientCache struct {
	service string // wire name

	byID sync.Map // *peer by id, read without a lock
	mu   sync.Mutex
	size int // of byID; whoever adds holds mu
}

func (t *clientCache) get(clientID []byte) *clientEntry {
	if known, ok := t.byID.Load(string(clientID)); ok {
		return known.(*clientEntry)
	}
	id := string(clientID)
	entry := &clientEntry{
		id:        id,
		claims:    bus.Channel(wire.ClaimRequestChannel(t.service, id)),
		responses: bus.Channel(wire.ResponseChannel(t.service, id)),
	}
	if len(id) > maxClientIDLength {
		return entry
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.size >= maxClients { // rare enough to begin anew
		t.byID.Clear()
		t.size = 0
	}
	known, loaded := t.byID.LoadOrStore(id, entry)
	if !loaded {
		t.size++
	}
	return known.(*clientEntry)
}
