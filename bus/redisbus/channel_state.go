package redisbus

import (
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/pipeline"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

// channelGroup is the set of channels that share a session, because the same Redis server handles
// them. core.mu guards its fields. Each supervisor has one.
type channelGroup struct {
	// attached is the session on which new channels are subscribed. It becomes active once Redis
	// has confirmed or refused all its channels. It is nil until the first session is opened.
	attached attachedSession
	// dirty lists the channels that are waiting for the reconcile loop of the attached session.
	dirty []*channelState
	// replaceReadOnlyLocked replaces the session because its server has become a replica. It may do
	// nothing; see supervisor.
	replaceReadOnlyLocked func()
}

// attachedSession is the part of a session that the channels subscribed on it need.
type attachedSession interface {
	pipeline.Session
	// wake wakes the reconcile loop, because there are dirty channels. It does not block.
	wake()
}

// channelState is the state of a Redis channel, from its first subscriber in this process until
// Redis has confirmed the UNSUBSCRIBE.
//
// The desired state is whether the channel has subscribers. Callers change only this state and mark
// the channel as dirty. The session's reconcile loop then sends commands until the actual state
// matches. As a result, only one goroutine writes to the pub/sub connection, and a burst of
// subscriptions shares a command. A new session restores all subscriptions in the same way.
type channelState struct {
	name string
	// snapshot points to the current set of subscribers. The set is never modified: when a
	// subscriber joins or leaves, a new set is stored. Frames can therefore be delivered without a
	// lock. The pointer is never nil.
	snapshot atomic.Pointer[snapshot]
	// share limits how many of the channel's queue frames this process takes.
	share share

	// core.mu guards the fields below.

	// group contains the channels that share a session with this one.
	group *channelGroup
	// draining is set while the last subscriber is closing. That subscriber still receives frames
	// until Redis confirms the UNSUBSCRIBE.
	draining bool
	// changed is closed and replaced to wake the goroutines that wait for a change of another
	// field.
	changed chan struct{}

	// The fields below describe the channel's state in the session attached to the group.

	// dirty is set while the channel waits for the reconcile loop to compare its desired state with
	// its actual one.
	dirty bool
	// subscribeSent is set if the last command sent for the channel was a SUBSCRIBE.
	subscribeSent bool
	// pendingReplies counts the commands that Redis has neither confirmed nor refused yet.
	pendingReplies int
	// subscribeAlone is set if the next SUBSCRIBE for this channel must not name any other channel.
	// It is set after Redis has refused a command that names several channels, because any of them
	// may be the cause. It is also set after the channel's shard has moved.
	subscribeAlone bool
	// subscribeErr is the error with which Redis refused the subscription to the channel, or nil.
	// The next session tries to subscribe to the channel again.
	subscribeErr error
}

func newChannelState(group *channelGroup, name string) *channelState {
	c := &channelState{name: name, group: group, changed: make(chan struct{})}
	c.snapshot.Store(&snapshot{})
	return c
}

// snapshot is an immutable set of a channel's subscribers.
type snapshot struct {
	// subscribers is nil if there are no subscribers.
	subscribers *fanout.Subscribers
	// pendingLocks is a gate that counts the frames whose locks this process is trying to take. The
	// last queue subscriber to leave closes the gate and waits until it is empty. Otherwise, this
	// process could take the lock on a frame without having a subscriber that handles the frame.
	// The next queue subscriber to join creates a new gate.
	pendingLocks *lifecycle.Gate
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

// removeSubscriberLocked removes subscriber. If it was the last queue subscriber,
// removeSubscriberLocked returns the pendingLocks gate, which the caller must close and wait for.
// Otherwise it returns nil.
func (c *channelState) removeSubscriberLocked(subscriber *fanout.Subscriber) *lifecycle.Gate {
	previous := c.snapshot.Load()
	next := &snapshot{subscribers: previous.subscribers.Without(subscriber), pendingLocks: previous.pendingLocks}
	c.snapshot.Store(next)
	if previous.subscribers.HasQueue() && !next.subscribers.HasQueue() {
		return previous.pendingLocks
	}
	return nil
}

// beginLockAttempt enters the pendingLocks gate for one frame and returns the snapshot that
// contains this gate. The lock attempt must leave the gate when it has finished. If the channel has
// no queue subscribers, beginLockAttempt returns nil.
func (c *channelState) beginLockAttempt() *snapshot {
	for {
		current := c.snapshot.Load()
		if !current.subscribers.HasQueue() {
			return nil
		}
		// Enter fails if the last queue subscriber has left since the snapshot was loaded. In that
		// case, the next snapshot has no queue subscribers or has a new gate.
		if current.pendingLocks.Enter() {
			return current
		}
	}
}

// desiredLocked reports whether this process should be subscribed to the channel.
func (c *channelState) desiredLocked() bool {
	return !c.draining && c.snapshot.Load().subscribers != nil
}

// hasOneSubscriberLocked reports whether the channel has at most one subscriber.
func (c *channelState) hasOneSubscriberLocked() bool { return c.snapshot.Load().subscribers.Len() <= 1 }

// subscribedLocked reports whether Redis has confirmed the subscription. If Redis has refused it,
// subscribedLocked returns the error.
func (c *channelState) subscribedLocked() (bool, error) {
	return c.subscribeSent && c.pendingReplies == 0, c.subscribeErr
}

// reconciledLocked reports whether nothing is left to be done for the channel. It returns false
// while the channel is waiting for the reconcile loop or for a reply. It also returns false if the
// channel's shard has moved and the channel is waiting for a new group.
func (c *channelState) reconciledLocked() bool {
	return !c.dirty && c.pendingReplies == 0 && (!c.subscribeAlone || c.subscribeSent || c.subscribeErr != nil)
}

// unsubscribedLocked reports whether Redis has stopped sending the channel's frames. It also
// returns true if another subscriber has joined, because the channel then stays subscribed. The
// error is always nil.
func (c *channelState) unsubscribedLocked() (bool, error) {
	return c.desiredLocked() || !c.dirty && !c.subscribeSent && c.pendingReplies == 0, nil
}

// markDirtyLocked marks the channel as dirty and wakes the reconcile loop of the attached session.
// If no session is attached, the next one handles all dirty channels when it starts.
func (c *channelState) markDirtyLocked() {
	if !c.dirty {
		c.dirty = true
		c.group.dirty = append(c.group.dirty, c)
	}
	if c.group.attached != nil {
		c.group.attached.wake()
	}
}

// notifyLocked wakes the goroutines that are waiting for the channel to change.
func (c *channelState) notifyLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// resetLocked clears the state that belongs to the previous session.
func (c *channelState) resetLocked() {
	c.dirty, c.subscribeSent, c.pendingReplies, c.subscribeAlone, c.subscribeErr = false, false, 0, false, nil
}
