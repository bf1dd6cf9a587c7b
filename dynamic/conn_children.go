package dynamic

import (
	"maps"
	"slices"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// connChild lives on a conn and ends with it, or with its bus.
type connChild interface {
	// end says why, and returns when it is done. It may be called more than once; the first call counts.
	end(err error)
}

// track makes m end with the conn. It fails if that has ended.
func (c *Conn) track(child connChild) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.err(); err != nil {
		return err
	}
	if c.children == nil {
		c.children = map[connChild]struct{}{}
	}
	c.children[child] = struct{}{}
	return nil
}

func (c *Conn) untrack(child connChild) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.children, child)
}

// closeChildren ends the conn with its bus, and all members with the conn.
func (c *Conn) closeChildren() {
	select {
	case <-c.ctx.Done():
	case <-c.bus.Done():
		c.cancel(bus.ErrClosed)
	}
	c.mu.Lock()
	children := slices.Collect(maps.Keys(c.children))
	c.mu.Unlock()
	for _, child := range children {
		child.end(c.err())
	}
	c.pending.notifyConnClosed()
}
