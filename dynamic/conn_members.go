package dynamic

import (
	"maps"
	"slices"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// connMember lives on a conn and ends with it, or with its bus.
type connMember interface {
	// end says why, and returns when it is done. It may be called more than once; the first call counts.
	end(err error)
}

// join makes m end with the conn. It fails if that has ended.
func (c *Conn) join(m connMember) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.ended(); err != nil {
		return err
	}
	if c.members == nil {
		c.members = map[connMember]struct{}{}
	}
	c.members[m] = struct{}{}
	return nil
}

func (c *Conn) leave(m connMember) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.members, m)
}

// watch ends the conn with its bus, and all members with the conn.
func (c *Conn) watch() {
	select {
	case <-c.life.Done():
	case <-c.bus.Done():
		c.endLife(bus.ErrClosed)
	}
	c.mu.Lock()
	members := slices.Collect(maps.Keys(c.members))
	c.mu.Unlock()
	for _, m := range members {
		m.end(c.ended())
	}
	c.pending.end()
}
