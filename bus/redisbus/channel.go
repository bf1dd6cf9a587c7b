package redisbus

import (
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

// channel is a Redis channel that has members in this process, or had until just now.
type channel struct {
	name     string
	audience atomic.Pointer[audience] // never nil

	// Guarded by Bus.mu.
	link        *link         // carries it
	leaving     bool          // its last member waits for Redis to know
	dirty       bool          // waits for the reconciler. This and what follows is about the link's session
	asked       bool          // the last command sent for it was a SUBSCRIBE
	unconfirmed int           // commands sent for it whose reply has not come
	alone       bool          // a command for several channels was refused: ask for this one by itself
	refused     error         // Redis does not let us subscribe
	changed     chan struct{} // closed and replaced when there is news
}

func newChannel(l *link, name string) *channel {
	c := &channel{name: name, link: l, changed: make(chan struct{})}
	c.audience.Store(&audience{})
	return c
}

// audience is the members of a channel at one time.
type audience struct {
	members  *fanout.Subscribers
	contests *lifecycle.Gate // inside: frames for the queue whose lock is asked for. Made anew with each queue
}

func (c *channel) joinLocked(member *fanout.Subscriber) {
	old := c.audience.Load()
	next := &audience{members: old.members.With(member), contests: old.contests}
	if next.members.HasQueue() && !old.members.HasQueue() {
		next.contests = lifecycle.NewGate()
	}
	c.audience.Store(next)
	c.leaving = false
	c.notifyLocked()
}

// leaveLocked returns the gate of the contests that member must wait for, or nil: it is a queue's last member.
func (c *channel) leaveLocked(member *fanout.Subscriber) *lifecycle.Gate {
	old := c.audience.Load()
	next := &audience{members: old.members.Without(member), contests: old.contests}
	c.audience.Store(next)
	if old.members.HasQueue() && !next.members.HasQueue() {
		return old.contests
	}
	return nil
}

// enter returns the audience with one more contest inside its gate, or nil if there is no queue.
func (c *channel) enter() *audience {
	for {
		now := c.audience.Load()
		if !now.members.HasQueue() {
			return nil
		}
		if now.contests.Enter() {
			return now
		}
	}
}

// wantedLocked says that Redis should send the channel's frames to us.
func (c *channel) wantedLocked() bool { return !c.leaving && c.audience.Load().members != nil }

// isLastLocked says that member has the channel for itself.
func (c *channel) isLastLocked(member *fanout.Subscriber) bool {
	return c.audience.Load().members.Without(member) == nil
}

func (c *channel) notifyLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// resetLocked forgets what a session knew of the channel.
func (c *channel) resetLocked() {
	c.dirty, c.asked, c.unconfirmed, c.alone, c.refused = false, false, 0, false, nil
}
