package driver

import (
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/dropcount"
)

// Counters contains the counters of a bus; see [bus.Stats] for what they count. The zero value is
// ready to use. All counters are safe for concurrent use.
type Counters struct {
	Published, PublishErrors, Received, Disconnects atomic.Uint64
	// Drops counts the frames that the bus has dropped, by reason.
	Drops dropcount.Counter
}

// Stats returns the values of all counters. connected reports whether the broker is reachable.
func (c *Counters) Stats(connected bool) bus.Stats {
	dropped, droppedBy := c.Drops.Frames()
	return bus.Stats{
		Connected:     connected,
		Disconnects:   c.Disconnects.Load(),
		Published:     c.Published.Load(),
		PublishErrors: c.PublishErrors.Load(),
		Received:      c.Received.Load(),
		Dropped:       dropped,
		DroppedBy:     droppedBy,
	}
}
