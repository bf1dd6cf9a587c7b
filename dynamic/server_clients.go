package dynamic

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/clockskew"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// maxClients and maxClientIDLength bound the memory of a clientCache. Client ids arrive over the
// bus, so faulty or malicious clients could otherwise fill it.
const (
	maxClients        = 10_000
	maxClientIDLength = 256 // bytes; a longer id is not cached
)

// clientEntry holds the id and the channels of one client, which are immutable, and the offset of
// its clock.
type clientEntry struct {
	id                string
	claims, responses bus.Channel
	clock             clockskew.Offset
}

// clientCache caches the clients of a service. It saves building the names of a client's channels
// for each response, and it keeps the offset of the client's clock.
type clientCache struct {
	service string // wire name

	byID sync.Map // client id to *clientEntry; read without a lock
	mu   sync.Mutex
	size int // number of entries in byID; adding an entry requires mu
}

// get returns the entry of a client, which it creates if necessary.
func (c *clientCache) get(clientID []byte) *clientEntry {
	if cached, ok := c.byID.Load(string(clientID)); ok {
		return cached.(*clientEntry)
	}
	id := string(clientID)
	entry := &clientEntry{
		id:        id,
		claims:    bus.Channel(wire.ClaimRequestChannel(c.service, id)),
		responses: bus.Channel(wire.ResponseChannel(c.service, id)),
	}
	if len(id) > maxClientIDLength {
		return entry
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size >= maxClients {
		// A full cache is rare, so clearing it is enough: tracking the use of each entry would cost
		// every request.
		c.byID.Clear()
		c.size = 0
	}
	cached, loaded := c.byID.LoadOrStore(id, entry)
	if !loaded {
		c.size++
	}
	return cached.(*clientEntry)
}
