package redisbus

import (
	"sync"
	"sync/atomic"
)

// maxPublishedSamples is the maximum number of publications that one check for observers examines.
const maxPublishedSamples = 16

// observers detects clients with a pattern subscription (PSUBSCRIBE), such as redis-cli psubscribe
// '*', that receive the frames of this bus. Such a client never responds, but the reply to a
// PUBLISH counts it as a receiver, so calls would wait for its response in vain.
//
// While there are observers, the bus therefore asks for the number of subscribers before each
// publication whose receivers must be known (see [subscriberCount]). The command for this is PUBSUB
// NUMSUB, which does not count pattern subscriptions. At other times, it only checks for observers,
// at most once per second.
type observers struct {
	// present is set while there are observers.
	present atomic.Bool
	// wanted is the number of publications that are still needed for the next check. It may become
	// negative.
	wanted atomic.Int32
	// wakeup holds a value if there are publications to check.
	wakeup chan struct{}

	mu sync.Mutex
	// receivers contains the numbers of receivers of recent frames, by channel.
	receivers map[string]int64
}

func newObservers() *observers {
	o := &observers{wakeup: make(chan struct{}, 1), receivers: map[string]int64{}}
	o.wanted.Store(maxPublishedSamples)
	return o
}

// onPublished stores the number of receivers of a frame for the next check, unless enough frames
// have already been stored.
func (o *observers) onPublished(channel string, receivers int64) {
	if receivers == 0 || o.wanted.Load() <= 0 || o.wanted.Add(-1) < 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.receivers[channel] = receivers
	wakeUp(o.wakeup)
}

// take returns the collected numbers of receivers, by channel, and starts a new collection.
func (o *observers) take() map[string]int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	receivers := o.receivers
	o.receivers = map[string]int64{}
	o.wanted.Store(maxPublishedSamples)
	return receivers
}

// subscriberCount is the number of connections that subscribe to the channel of a publication.
// Redis counts them just before it publishes the frame. A connection that subscribes after the
// count and before the PUBLISH is not counted.
type subscriberCount struct {
	// known reports whether Redis has replied with a number. Only the publisher's pipeline uses
	// known and subscribers.
	known       bool
	subscribers int64
	// replied is closed when Redis has replied, or when the connection was lost. err is then the
	// error reply or the error of the connection. replied is nil if no goroutine waits for the
	// reply.
	replied chan struct{}
	err     error
}

// onReply stores the reply to PUBSUB NUMSUB.
func (c *subscriberCount) onReply(subscribers int64, err error) {
	c.known, c.subscribers = err == nil, subscribers
	if c.replied != nil {
		c.err = err
		close(c.replied)
	}
}

// limit returns how many of the receivers are not observers. If c is nil or the number of
// subscribers is unknown, limit returns receivers.
func (c *subscriberCount) limit(receivers int64) int64 {
	if c == nil || !c.known {
		return receivers
	}
	return min(receivers, c.subscribers)
}
