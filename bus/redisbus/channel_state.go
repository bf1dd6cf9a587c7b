package redisbus

import (
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

// channelState is the state of a Redis channel that has subscribers in this process, or whose last
// subscriber has left and whose UNSUBSCRIBE Redis has not yet confirmed.
//
// It holds the desired state (is there a subscriber?) and the actual state (what was sent to Redis,
// and what did Redis reply?). A caller only changes the desired state and marks the channel dirty.
// The session's reconcile loop sends the commands that bring the two together, so that one
// goroutine writes to the pub/sub socket, bursts of subscriptions share a command, and a new
// session subscribes to everything with the same code.
type channelState struct {
	name string
	// snapshot is replaced as a whole when a subscriber joins or leaves, so that delivery needs no
	// lock. It is never nil.
	snapshot atomic.Pointer[snapshot]

	// Bus.mu guards the fields below.

	// supervisor is the one whose session carries the channel.
	supervisor *supervisor
	// draining is set while the last subscriber closes: it gets frames until Redis confirms the
	// UNSUBSCRIBE.
	draining bool
	// changed is closed and replaced when any other field changes.
	changed chan struct{}

	// The fields below are about the session that is attached to the supervisor.

	// dirty channels wait for the reconcile loop.
	dirty bool
	// subscribeSent is set if the last command sent for the channel was a SUBSCRIBE.
	subscribeSent bool
	// pendingReplies counts the commands whose confirmation or refusal has not arrived.
	pendingReplies int
	// subscribeAlone asks for a SUBSCRIBE that names this channel only. It is set after Redis
	// refused a command that may have failed because of another channel.
	subscribeAlone bool
	// subscribeErr is the error with which Redis refused the channel, or nil. A refused channel is
	// tried again by the next session.
	subscribeErr error
}

func newChannelState(sup *supervisor, name string) *channelState {
	c := &channelState{name: name, supervisor: sup, changed: make(chan struct{})}
	c.snapshot.Store(&snapshot{})
	return c
}

// snapshot is the set of a channel's subscribers at one moment. It is immutable.
type snapshot struct {
	// subscribers is nil if there are none.
	subscribers *fanout.Subscribers
	// pendingLocks is entered by each frame whose lock attempt has not finished. A queue gets a new
	// gate when its first subscriber in this process joins; the last one to leave closes the gate
	// and waits until it is empty.
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

// removeSubscriberLocked removes subscriber. If it was the last one of the queue,
// removeSubscriberLocked returns the gate of the lock attempts to wait for, or else nil.
func (c *channelState) removeSubscriberLocked(subscriber *fanout.Subscriber) *lifecycle.Gate {
	previous := c.snapshot.Load()
	next := &snapshot{subscribers: previous.subscribers.Without(subscriber), pendingLocks: previous.pendingLocks}
	c.snapshot.Store(next)
	if previous.subscribers.HasQueue() && !next.subscribers.HasQueue() {
		return previous.pendingLocks
	}
	return nil
}

// beginLockAttempt enters pendingLocks for one frame and returns the snapshot with that gate; the
// lock attempt leaves the gate when it finishes. beginLockAttempt returns nil if the channel has no
// queue subscriber.
func (c *channelState) beginLockAttempt() *snapshot {
	for {
		current := c.snapshot.Load()
		if !current.subscribers.HasQueue() {
			return nil
		}
		// Enter fails if the last queue subscriber has left since the Load. The next snapshot has
		// no queue, or a new one.
		if current.pendingLocks.Enter() {
			return current
		}
	}
}

// desiredLocked reports whether Redis should send the channel's frames to this process.
func (c *channelState) desiredLocked() bool {
	return !c.draining && c.snapshot.Load().subscribers != nil
}

// isLastSubscriberLocked reports whether the channel has no subscriber except subscriber.
func (c *channelState) isLastSubscriberLocked(subscriber *fanout.Subscriber) bool {
	return c.snapshot.Load().subscribers.Without(subscriber) == nil
}

// subscribedLocked reports whether Redis has confirmed the subscription. It returns an error if
// Redis has refused it.
func (c *channelState) subscribedLocked() (bool, error) {
	return c.subscribeSent && c.pendingReplies == 0, c.subscribeErr
}

// reconciledLocked reports whether the channel waits for nothing: neither for the reconcile loop,
// nor for a reply, nor for a new supervisor after its shard has moved.
func (c *channelState) reconciledLocked() bool {
	return !c.dirty && c.pendingReplies == 0 && (!c.subscribeAlone || c.subscribeSent || c.subscribeErr != nil)
}

// unsubscribedLocked reports whether Redis sends no more frames of the channel. It also returns
// true if another subscriber has joined, because the subscription then stays. The error is always
// nil.
func (c *channelState) unsubscribedLocked() (bool, error) {
	return c.desiredLocked() || !c.dirty && !c.subscribeSent && c.pendingReplies == 0, nil
}

// markDirtyLocked hands the channel to the reconcile loop of the attached session. Without a
// session it waits for the next one, which looks at the dirty channels when it starts.
func (c *channelState) markDirtyLocked() {
	if !c.dirty {
		c.dirty = true
		c.supervisor.dirty = append(c.supervisor.dirty, c)
	}
	if c.supervisor.attached == nil {
		return
	}
	select {
	case c.supervisor.attached.wakeup <- struct{}{}:
	default:
	}
}

// notifyLocked wakes the goroutines that wait for a change of the channel.
func (c *channelState) notifyLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// resetLocked clears what concerns the previous session.
func (c *channelState) resetLocked() {
	c.dirty, c.subscribeSent, c.pendingReplies, c.subscribeAlone, c.subscribeErr = false, false, 0, false, nil
}
