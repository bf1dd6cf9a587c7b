package dynamic

import (
	"maps"
	"slices"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// connChild is a stream or a subscription that ends with its conn, or with the conn's bus.
type connChild interface {
	// end ends the child with err and returns when the child has ended. It may be called more than
	// once; only the first error counts.
	end(err error)
}

// track adds a child that ends with the conn. It returns an error if the conn is closed.
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

// closeChildren waits until the conn or its bus is closed, and then ends all children and calls. It
// is the body of a goroutine that Close waits for.
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
