package call

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/timer"
)

// core holds what the parts of an [Engine] have in common.
type core struct {
	lifetime

	config Config
	// bus wraps Config.Bus to limit the size of frames and to compress them.
	bus    bus.Bus
	traits transport.Traits
	// wireID is Config.ClientID, converted to bytes.
	wireID []byte
	// epoch is the zero point of the times in call timers and in server directories. It is
	// immutable and has a monotonic clock reading.
	epoch       time.Time
	drops       transport.Drops
	memberships memberships
	timers      timer.Pool
}

// disconnects returns how often the bus has lost its connection. Announcements may have been lost
// each time.
func (c *core) disconnects() uint64 {
	if monitored, ok := c.config.Bus.(bus.Monitored); ok {
		return monitored.Stats().Disconnects
	}
	return 0
}

// sinceEpoch returns the time from epoch to now.
func (c *core) sinceEpoch(now time.Time) time.Duration { return now.Sub(c.epoch) }
