package redisbus

import (
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

// channelState is a Redis channel that has members in this process, or had until just now.
type channelState struct {
	name     string
	snapshot atomic.Pointer[snapshot] // never nil

	// Guarded by Bus.mu.
	supervisor     *supervisor   // carries it
	draining       bool          // its last member waits for Redis to know
	dirty          bool          // waits for the reconciler. This and what follows is about the link's session
	subscribeSent  bool          // the last command sent for it was a SUBSCRIBE
	pendingReplies int           // commands sent for it whose reply has not come
	subscribeAlone bool          // a command for several channels was refused: ask for this one by itself
	subscribeErr   error         // Redis does not let us subscribe
	changed        chan struct{} // closed and replaced when there is news
}

func newChannelState(sup *supervisor, name string) *channelState {
	c := &channelState{name: name, supervisor: sup, changed: make(chan struct{})}
	c.snapshot.Store(&snapshot{})
	return c
}

// snapshot is the members of a channel at one time.
type snapshot struct {
	subscribers  *fanout.Subscribers
	pendingLocks *lifecycle.Gate // inside: frames for the queue whose lock is asked for. Made anew with each queue
}

func (c *channelState) addSubscriberLocked(subscriber *fanout.Subscriber) {
	previous := c.snapshot.Load()
	next := &snapshot{subscribers: previous.subscribers.With(subscriber), pendingLocks: previous.pendingLocks}
	if next.subscribers.HasQueue() && !previous.subscribers.HasQueue() {
		next.pendingLocks = lifecycle.NewGate()
	}
	c.snapshot.Store(next)
	c.draining = false
	c.notifyLocked()
}

// removeSubscriberLocked returns the gate of the contests that member must wait for, or nil: it is a queue's last member.
func (c *channelState) removeSubscriberLocked(subscriber *fanout.Subscriber) *lifecycle.Gate {
	previous := c.snapshot.Load()
	next := &snapshot{subscribers: previous.subscribers.Without(subscriber), pendingLocks: previous.pendingLocks}
	c.snapshot.Store(next)
	if previous.subscribers.HasQueue() && !next.subscribers.HasQueue() {
		return previous.pendingLocks
	}
	return nil
}

// beginLockAttempt returns the audience with one more contest inside its gate, or nil if there is no queue.
func (c *channelState) beginLockAttempt() *snapshot {
	for {
		current := c.snapshot.Load()
		if !current.subscribers.HasQueue() {
			return nil
		}
		if current.pendingLocks.Enter() {
			return current
		}
	}
}

// desiredLocked says that Redis should send the channel's frames to us.
func (c *channelState) desiredLocked() bool {
	return !c.draining && c.snapshot.Load().subscribers != nil
}

// isLastSubscriberLocked says that member has the channel for itself.
func (c *channelState) isLastSubscriberLocked(subscriber *fanout.Subscriber) bool {
	return c.snapshot.Load().subscribers.Without(subscriber) == nil
}

func (c *channelState) notifyLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// resetLocked forgets what a session knew of the channel.
func (c *channelState) resetLocked() {
	c.dirty, c.subscribeSent, c.pendingReplies, c.subscribeAlone, c.subscribeErr = false, false, 0, false, nil
}
