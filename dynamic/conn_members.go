package dynamic

import (
	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// connMember lives on a conn and ends with it, or with its bus.
type connMember interface {
	// end says why, and returns when it is done. It may be called more than once; the first call counts.
	end(err error)
}

// join makes m end with the conn. It fails if that is closed, or the bus.
func (c *Conn) join(m connMember) error {
	select {
	case <-c.bus.Done():
		return bus.ErrClosed
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errors.ErrClientClosed
	}
	if c.members == nil {
		c.members = map[connMember]struct{}{}
		c.running.Go(c.endMembers)
	}
	c.members[m] = struct{}{}
	return nil
}

func (c *Conn) leave(m connMember) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.members, m)
}

// endMembers waits for the end of the conn or of the bus, and ends all members with it.
func (c *Conn) endMembers() {
	var err error
	select {
	case <-c.life.Done():
		err = errors.ErrClientClosed
	case <-c.bus.Done():
		err = bus.ErrClosed
	}
	c.mu.Lock()
	members := make([]connMember, 0, len(c.members))
	for m := range c.members {
		members = append(members, m)
	}
	c.mu.Unlock()
	for _, m := range members {
		m.end(err)
	}
}
