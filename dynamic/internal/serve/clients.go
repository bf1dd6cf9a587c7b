package serve

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/clockskew"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// maxClients and maxClientIDLength limit the memory used by a clientCache. Client IDs arrive over
// the bus, so without these limits faulty or malicious clients could exhaust the memory.
const (
	maxClients = 10_000
	// maxClientIDLength is a number of bytes. Clients with longer IDs are not cached.
	maxClientIDLength = 256
)

// clientEntry holds the ID and the channels of a client, which are immutable, and the estimated
// offset of the client's clock.
type clientEntry struct {
	id                string
	claims, responses bus.Channel
	clock             clockskew.Offset
}

// clientCache caches the clients of a service. The names of a client's channels thus need not be
// built for every response. The cache also keeps the offset of each client's clock.
type clientCache struct {
	// service is the wire name of the service.
	service string

	// byID maps client IDs to *clientEntry. It may be read without holding mu, but mu must be held
	// to add entries.
	byID sync.Map
	mu   sync.Mutex
	// size is the number of entries in byID, which a sync.Map does not count itself.
	size int
}

// get returns the entry for a client. If the client is not in the cache, get creates an entry and,
// unless the ID is too long, adds it to the cache. A full cache is emptied first.
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
		// The cache is rarely full, so all entries are removed at once. Removing only unused
		// entries would make every request slower, because their use would have to be recorded.
		c.byID.Clear()
		c.size = 0
	}
	cached, loaded := c.byID.LoadOrStore(id, entry)
	if !loaded {
		c.size++
	}
	return cached.(*clientEntry)
}
